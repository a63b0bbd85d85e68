-- last_rev is the conversation's only counter: a new message takes the next value as its rev, a later change of a message
-- takes the next value as its new rev. Values are given out under this row's lock: without gaps, in the order of commits.
create table conversations (
    id uuid not null default new_id(),
    low_id uuid not null,                -- the two participants, the smaller id first
    high_id uuid not null,
    last_rev bigint not null default 0,
    last_seq bigint not null default 0,
    last_message text,
    last_message_at timestamptz,
    closed_at timestamptz,               -- set while the two are not connected: read only
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint conversations_pkey primary key (id),
    constraint conversations_pair_key unique (low_id, high_id),
    constraint conversations_low_id_fkey foreign key (low_id) references users,
    constraint conversations_high_id_fkey foreign key (high_id) references users,
    constraint conversations_pair_check check (low_id < high_id)
);
-- Every instance asks every few seconds which conversations have changed.
create index conversations_updated_at_idx on conversations (updated_at);
create index conversations_high_id_idx on conversations (high_id);

create table conversation_participants (
    id uuid not null default new_id(),
    conversation_id uuid not null,
    user_id uuid not null,
    joined_at timestamptz not null default now(),
    last_read_at timestamptz,
    last_read_seq bigint not null default 0,
    constraint conversation_participants_pkey primary key (id),
    constraint conversation_participants_conversation_id_fkey
        foreign key (conversation_id) references conversations on delete cascade,
    constraint conversation_participants_user_id_fkey foreign key (user_id) references users,
    constraint conversation_participants_user_key unique (conversation_id, user_id)
);
create index conversation_participants_user_id_idx on conversation_participants (user_id, conversation_id);

create table messages (
    id uuid not null default new_id(),
    conversation_id uuid not null,
    sender_id uuid not null,
    seq bigint not null,
    rev bigint not null,
    client_message_id text,
    content text not null,
    message_type text not null default 'TEXT',
    file_url text,
    file_name text,
    file_size bigint,
    is_edited boolean not null default false,
    deleted_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint messages_pkey primary key (id),
    constraint messages_conversation_id_fkey foreign key (conversation_id) references conversations on delete cascade,
    constraint messages_sender_id_fkey foreign key (sender_id) references users,
    constraint messages_seq_key unique (conversation_id, seq),
    constraint messages_rev_key unique (conversation_id, rev),
    constraint messages_client_message_id_key unique (conversation_id, sender_id, client_message_id),
    constraint messages_message_type_check check (message_type in ('TEXT', 'IMAGE', 'FILE'))
);
create index messages_file_url_idx on messages (file_url) where file_url is not null;

-- Files that the upload route has stored. A message may carry only these, of its own conversation.
create table attachments (
    url text not null,
    conversation_id uuid not null,
    uploader_id uuid not null,
    file_name text not null,
    file_size bigint not null,
    message_type text not null,
    created_at timestamptz not null default now(),
    constraint attachments_pkey primary key (url),
    constraint attachments_conversation_id_fkey foreign key (conversation_id) references conversations on delete cascade,
    constraint attachments_uploader_id_fkey foreign key (uploader_id) references users,
    constraint attachments_message_type_check check (message_type in ('IMAGE', 'FILE'))
);
create index attachments_uploader_id_idx on attachments (uploader_id);
create index attachments_conversation_id_idx on attachments (conversation_id);
-- Housekeeping looks for old files that were never sent.
create index attachments_created_at_idx on attachments (created_at);

-- count_unread: return the number of the other participant's messages after the reader's mark, without deleted ones.
-- Volatile, so that a statement that waited for the conversation's lock counts what was committed meanwhile, and what it
-- wrote itself.
create function count_unread(conversation uuid, reader uuid) returns bigint language plpgsql volatile as $$
begin
    return (
        select count(*) from conversation_participants p join messages m on m.conversation_id = p.conversation_id
        where p.conversation_id = conversation and p.user_id = reader and m.seq > p.last_read_seq
            and m.sender_id <> reader and m.deleted_at is null
    );
end $$;
