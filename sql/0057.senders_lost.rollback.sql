alter table email_outbox drop column senders_lost;
