-- Written in the transaction that causes the mail, sent by a worker. The payload (it may hold a code) is encrypted,
-- and forgotten as soon as the mail is out or given up.
create table email_outbox (
    id uuid not null default new_id(),
    recipient text not null,
    template text not null,
    payload bytea,
    attempts int not null default 0,
    next_attempt_at timestamptz not null default now(),
    locked_until timestamptz,            -- a sender is at it; after this another may take over
    sent_at timestamptz,
    failed_at timestamptz,
    last_error text,
    created_at timestamptz not null default now(),
    constraint email_outbox_pkey primary key (id)
);
create index email_outbox_due_idx on email_outbox (next_attempt_at) where sent_at is null and failed_at is null;
create index email_outbox_created_at_idx on email_outbox (created_at);

create table job_runs (
    id uuid not null default new_id(),
    job text not null,
    scheduled_for timestamptz not null,
    status text not null default 'RUNNING',
    runner text not null,
    lease_until timestamptz not null,
    attempt int not null default 1,
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    counts jsonb,
    error text,
    started_by uuid,                     -- the admin who asked for it; null: the schedule
    constraint job_runs_pkey primary key (id),
    constraint job_runs_scheduled_for_key unique (job, scheduled_for),
    constraint job_runs_started_by_fkey foreign key (started_by) references users on delete set null,
    constraint job_runs_status_check check (status in ('RUNNING', 'SUCCEEDED', 'FAILED', 'STOPPED'))
);
-- Runs of one job never overlap, whoever starts them.
create unique index job_runs_running_key on job_runs (job) where status = 'RUNNING';
