-- What the nightly reminder looks for, and what housekeeping does.
create index social_media_accounts_unproven_idx on social_media_accounts (created_at, id)
    where platform = 'INSTAGRAM' and is_active and not is_verified and reminders_sent < 3;
create index email_outbox_sent_at_idx on email_outbox (sent_at) where sent_at is not null;
create index email_outbox_failed_at_idx on email_outbox (failed_at) where failed_at is not null;
