drop function count_unread(uuid, uuid);
