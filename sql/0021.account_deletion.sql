-- What deleting an account asks for: the other halves of pairs, what tells of the account, which files are in use.
create index conversations_high_id_idx on conversations (high_id);
create index notifications_actor_id_idx on notifications (actor_id) where actor_id is not null;
create index messages_file_url_idx on messages (file_url) where file_url is not null;
create index attachments_uploader_id_idx on attachments (uploader_id);
create index attachments_conversation_id_idx on attachments (conversation_id);
