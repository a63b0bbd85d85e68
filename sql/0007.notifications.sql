create table notifications (
    id uuid not null default new_id(),
    user_id uuid not null,
    type text not null,
    title text not null,
    message text not null,
    is_read boolean not null default false,
    connection_request_id uuid,
    message_id uuid,
    conversation_id uuid,
    actor_id uuid,                       -- whose act it tells of
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint notifications_pkey primary key (id),
    constraint notifications_user_id_fkey foreign key (user_id) references users on delete cascade,
    constraint notifications_actor_id_fkey foreign key (actor_id) references users on delete set null,
    constraint notifications_connection_request_id_fkey
        foreign key (connection_request_id) references connection_requests on delete set null,
    constraint notifications_message_id_fkey foreign key (message_id) references messages on delete set null,
    constraint notifications_conversation_id_fkey foreign key (conversation_id) references conversations on delete cascade,
    constraint notifications_type_check check (type in ('CONNECTION_REQUEST', 'CONNECTION_ACCEPTED', 'CONNECTION_REJECTED',
        'NEW_MESSAGE', 'MESSAGE_REPLY', 'PROFILE_VIEW', 'SYSTEM'))
);
create index notifications_user_id_idx on notifications (user_id, updated_at desc, id desc);
create index notifications_unread_idx on notifications (user_id) where not is_read;
create index notifications_read_idx on notifications (updated_at) where is_read;
-- Messages of one conversation collapse into one unread row that counts them.
create unique index notifications_new_message_key on notifications (user_id, conversation_id)
    where type = 'NEW_MESSAGE' and not is_read;
create index notifications_profile_view_idx on notifications (user_id, actor_id, created_at) where type = 'PROFILE_VIEW';
create index notifications_connection_request_id_idx on notifications (connection_request_id) where connection_request_id is not null;
create index notifications_message_id_idx on notifications (message_id) where message_id is not null;
create index notifications_conversation_id_idx on notifications (conversation_id) where conversation_id is not null;
