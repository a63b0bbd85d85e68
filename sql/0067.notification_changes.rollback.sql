drop trigger notifications_deletion on notifications;
drop function note_notification_deletion();
drop table deleted_notifications;
create index notifications_updated_at_idx on notifications (updated_at);
drop index notifications_changed_at_idx;
drop trigger notifications_change on notifications;
drop function note_notification_change();
alter table notifications drop column changed_at;
