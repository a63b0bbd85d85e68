drop function count_unread_notifications(uuid);
drop table profile_views;
drop table notifications;
drop function note_notification_deletion();
drop table deleted_notifications;
drop function note_notification_change();
