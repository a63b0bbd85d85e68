drop index attachments_conversation_id_idx;
drop index attachments_uploader_id_idx;
drop index messages_file_url_idx;
drop index notifications_actor_id_idx;
drop index conversations_high_id_idx;
