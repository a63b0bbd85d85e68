-- A mail is stored in the transaction that causes it and sent by a worker. The payload may hold a code: it is encrypted, and
-- deleted when the mail has been sent or given up.
create table email_outbox (
    id uuid not null default new_id(),
    recipient text not null,
    template text not null,
    payload bytea,
    attempts int not null default 0,
    next_attempt_at timestamptz not null default now(),
    locked_until timestamptz,            -- the lease of a sender; after it another may take over
    sent_at timestamptz,
    failed_at timestamptz,
    last_error text,
    created_at timestamptz not null default now(),
    senders_lost int not null default 0, -- senders that ended before they stored a result; slows down retries
    constraint email_outbox_pkey primary key (id)
);
create index email_outbox_due_idx on email_outbox (next_attempt_at) where sent_at is null and failed_at is null;
create index email_outbox_created_at_idx on email_outbox (created_at);
-- Housekeeping deletes old rows.
create index email_outbox_sent_at_idx on email_outbox (sent_at) where sent_at is not null;
create index email_outbox_failed_at_idx on email_outbox (failed_at) where failed_at is not null;
