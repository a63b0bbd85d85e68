drop table email_outbox;
