drop table attachments;
drop table messages;
drop table conversation_participants;
drop table conversations;
