-- One row per unordered pair of users. Ending a connection deletes the row; the conversation stays, closed.
create table connection_requests (
    id uuid not null default new_id(),
    sender_id uuid not null,
    receiver_id uuid not null,
    status text not null default 'PENDING',
    message text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint connection_requests_pkey primary key (id),
    constraint connection_requests_sender_id_fkey foreign key (sender_id) references users on delete cascade,
    constraint connection_requests_receiver_id_fkey foreign key (receiver_id) references users on delete cascade,
    constraint connection_requests_self_check check (sender_id <> receiver_id),
    constraint connection_requests_status_check check (status in ('PENDING', 'ACCEPTED', 'REJECTED'))
);
create unique index connection_requests_pair_key
    on connection_requests (least(sender_id, receiver_id), greatest(sender_id, receiver_id));
create index connection_requests_sender_idx on connection_requests (sender_id, status, created_at desc, id desc);
create index connection_requests_receiver_idx on connection_requests (receiver_id, status, created_at desc, id desc);
create index connection_requests_created_at_idx on connection_requests (created_at desc, id desc);
-- Admins list the requests of a status, newest first.
create index connection_requests_status_idx on connection_requests (status, created_at, id);
