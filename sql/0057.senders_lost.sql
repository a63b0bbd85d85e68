-- A mail server that is down for a day is waited for; a mail that kills its senders is not tried for so long.
alter table email_outbox add column senders_lost int not null default 0;
