-- Paid scrapes. At most one runs for a profile, over all instances; its result is everybody's for a while. Whoever is at
-- it renews the lease; once that has ended the next caller takes over, with the vendor's run where there is one.
create table scrape_runs (
    id uuid not null default new_id(),
    platform text not null,
    username text not null,              -- lower case
    state text not null default 'RUNNING',
    vendor_run_id text,                  -- null until the vendor has told it: from then on the run costs money
    attempt int not null default 1,      -- raised by whoever takes over; the one before can no longer write
    lease_until timestamptz not null,
    requested_by uuid,                   -- who caused the costs; null: a job
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    profile jsonb,                       -- services.social.profiles.Profile
    failure text,                        -- the name of a class of services/errors.py

    constraint scrape_runs_pkey primary key (id),
    constraint scrape_runs_requested_by_fkey foreign key (requested_by) references users on delete set null,
    constraint scrape_runs_platform_check check (platform in ('INSTAGRAM', 'TIKTOK')),
    constraint scrape_runs_username_check check (username = lower(username)),
    constraint scrape_runs_state_check check (state in ('RUNNING', 'SUCCEEDED', 'FAILED')),
    constraint scrape_runs_result_check check ((state = 'SUCCEEDED') = (profile is not null))
);
create unique index scrape_runs_running_key on scrape_runs (platform, username) where state = 'RUNNING';
create index scrape_runs_finished_at_idx on scrape_runs (platform, username, finished_at desc);
create index scrape_runs_started_at_idx on scrape_runs (started_at);
create index scrape_runs_requested_by_idx on scrape_runs (requested_by) where requested_by is not null;
