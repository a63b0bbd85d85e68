drop function count_unread(uuid, uuid);
drop table attachments;
drop table messages;
drop table conversation_participants;
drop table conversations;
