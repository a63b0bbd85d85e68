create table job_runs (
    id uuid not null default new_id(),
    job text not null,
    scheduled_for timestamptz not null,
    status text not null default 'RUNNING',
    runner text not null,
    lease_until timestamptz not null,
    attempt int not null default 1,      -- raised by a runner that takes over; the one before can no longer write
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    counts jsonb,
    error text,
    started_by uuid,                     -- the admin who started it; null: the schedule
    constraint job_runs_pkey primary key (id),
    constraint job_runs_scheduled_for_key unique (job, scheduled_for),
    constraint job_runs_started_by_fkey foreign key (started_by) references users on delete set null,
    constraint job_runs_status_check check (status in ('RUNNING', 'SUCCEEDED', 'FAILED', 'STOPPED')),
    constraint job_runs_attempt_check check (attempt >= 1)
);
-- Runs of one job never overlap.
create unique index job_runs_running_key on job_runs (job) where status = 'RUNNING';
-- The last runs of a job, newest first.
create index job_runs_started_at_idx on job_runs (job, started_at desc);
