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
    actor_id uuid,                       -- the user who caused it
    metadata jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),  -- when its content last changed: lists are sorted by it
    changed_at timestamptz default now(),           -- the last change of any kind, such as reading it
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
create index notifications_connection_request_id_idx on notifications (connection_request_id)
    where connection_request_id is not null;
create index notifications_message_id_idx on notifications (message_id) where message_id is not null;
create index notifications_conversation_id_idx on notifications (conversation_id) where conversation_id is not null;
create index notifications_actor_id_idx on notifications (actor_id) where actor_id is not null;
-- Instances find changes whose events they missed by changed_at.
create index notifications_changed_at_idx on notifications (changed_at);

create function note_notification_change() returns trigger language plpgsql as $$
begin
    new.changed_at := case when new.updated_at > old.updated_at then new.updated_at else clock_timestamp() end;
    return new;
end $$;
create trigger notifications_change before update on notifications
    for each row execute function note_notification_change();

-- Deleted unread notifications, kept for a day: an instance may crash between a deletion and its event.
create table deleted_notifications (
    id uuid not null,
    user_id uuid not null,
    deleted_at timestamptz not null default clock_timestamp(),
    constraint deleted_notifications_pkey primary key (id)
);
create index deleted_notifications_deleted_at_idx on deleted_notifications (deleted_at);

create function note_notification_deletion() returns trigger language plpgsql as $$
begin
    insert into deleted_notifications (id, user_id) select id, user_id from gone where not is_read;
    return null;
end $$;
create trigger notifications_deletion after delete on notifications referencing old table as gone
    for each statement execute function note_notification_deletion();

-- The last day on which a user viewed a profile: one notification per viewer and day, also if it was deleted since.
create table profile_views (
    viewed_id uuid not null,
    viewer_id uuid not null,
    viewed_on date not null,
    constraint profile_views_pkey primary key (viewed_id, viewer_id),
    constraint profile_views_viewed_id_fkey foreign key (viewed_id) references users on delete cascade,
    constraint profile_views_viewer_id_fkey foreign key (viewer_id) references users on delete cascade
);
create index profile_views_viewer_id_idx on profile_views (viewer_id);

-- count_unread_notifications: return the number of a user's unread notifications. Volatile, as count_unread is: a
-- statement that waited for a lock counts what was committed meanwhile, and what it wrote itself.
create function count_unread_notifications(reader uuid) returns bigint language plpgsql volatile as $$
begin
    return (select count(*) from notifications where user_id = reader and not is_read);
end $$;
