-- changed_at: the last change of any kind, by which instances find changes whose events they missed. updated_at: the latest
-- news, by which lists are sorted; a notification that is read or edited keeps its place there.
alter table notifications add column changed_at timestamptz;  -- null: not since this column exists
alter table notifications alter column changed_at set default now();

create function note_notification_change() returns trigger language plpgsql as $$
begin
    new.changed_at := case when new.updated_at > old.updated_at then new.updated_at else clock_timestamp() end;
    return new;
end $$;
create trigger notifications_change before update on notifications
    for each row execute function note_notification_change();

create index notifications_changed_at_idx on notifications (changed_at);
-- It served the same question; the statement of older instances finds its rows by notifications_user_id_idx meanwhile.
drop index notifications_updated_at_idx;

-- Deleted unread notifications, kept for a day: an instance may die between a deletion and its event.
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
