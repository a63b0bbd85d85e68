create table social_media_accounts (
    id uuid not null default new_id(),
    influencer_id uuid not null,
    platform text not null,
    username text not null,                  -- as the platform writes it, without @
    platform_user_id text,
    display_name text,
    profile_picture text,
    profile_url text,
    followers_count bigint not null default 0,
    following_count bigint not null default 0,
    posts_count bigint not null default 0,
    engagement_rate double precision not null default 0,
    is_active boolean not null default true,
    is_verified boolean not null default false,
    connection text not null default 'PUBLIC',
    verification_code text,
    verified_at timestamptz,
    access_token bytea,                      -- AES-256-GCM envelope, bound to this row's id
    refresh_token bytea,
    token_expires_at timestamptz,
    refresh_expires_at timestamptz,
    needs_reconnect boolean not null default false,
    metadata jsonb,
    last_synced_at timestamptz not null default now(),
    next_sync_at timestamptz not null default now() + interval '7 days',
    sync_failures int not null default 0,
    reminders_sent int not null default 0,
    reminded_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    refresh_claimed_until timestamptz,       -- an instance refreshes the tokens: a refresh token works once
    tokens_refreshed_at timestamptz,         -- an interrupted run of the nightly refresh continues from here
    constraint social_media_accounts_pkey primary key (id),
    constraint social_media_accounts_influencer_id_fkey foreign key (influencer_id) references influencers on delete cascade,
    constraint social_media_accounts_influencer_platform_key unique (influencer_id, platform),
    constraint social_media_accounts_platform_check check (platform in ('INSTAGRAM', 'TIKTOK')),
    constraint social_media_accounts_connection_check check (connection in ('PUBLIC', 'OAUTH'))
);
-- A handle that one user has proven cannot be held by another.
create unique index social_media_accounts_proven_key on social_media_accounts (platform, lower(username)) where is_verified;
create index social_media_accounts_username_idx on social_media_accounts (platform, lower(username));
create index social_media_accounts_next_sync_at_idx on social_media_accounts (next_sync_at) where is_active;
create index social_media_accounts_token_expires_at_idx on social_media_accounts (token_expires_at)
    where is_active and connection = 'OAUTH';
-- The nightly refresh of tokens reads these accounts.
create index social_media_accounts_oauth_idx on social_media_accounts (id)
    where is_active and connection = 'OAUTH' and not needs_reconnect;
-- The nightly reminder reads these accounts.
create index social_media_accounts_unproven_idx on social_media_accounts (created_at, id)
    where platform = 'INSTAGRAM' and is_active and not is_verified and reminders_sent < 3;

create table social_media_posts (
    id uuid not null default new_id(),
    account_id uuid not null,
    platform_post_id text not null,
    media_type text not null,
    caption text,
    url text,
    media_url text,
    likes_count bigint not null default 0,
    comments_count bigint not null default 0,
    shares_count bigint not null default 0,
    views_count bigint not null default 0,
    hashtags text[] not null default '{}',
    posted_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint social_media_posts_pkey primary key (id),
    constraint social_media_posts_account_id_fkey foreign key (account_id) references social_media_accounts on delete cascade,
    constraint social_media_posts_platform_post_id_key unique (account_id, platform_post_id),
    constraint social_media_posts_media_type_check check (media_type in ('IMAGE', 'VIDEO', 'CAROUSEL', 'REEL', 'STORY'))
);
create index social_media_posts_posted_at_idx on social_media_posts (account_id, posted_at desc);

-- Paid scrapes. At most one runs for a profile, over all instances, and its result serves all callers for some time. The caller
-- that works on it renews the lease. After the lease has ended, the next caller takes over, with the vendor's run if there
-- is one.
create table scrape_runs (
    id uuid not null default new_id(),
    platform text not null,
    username text not null,              -- lower case
    state text not null default 'RUNNING',
    vendor_run_id text,                  -- null until the vendor has started the run, which costs money from then on
    attempt int not null default 1,      -- raised by a caller that takes over; the one before can no longer write
    lease_until timestamptz not null,
    requested_by uuid,                   -- the user who caused the costs; null: a job
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    profile jsonb,                       -- services.social.profiles.SocialProfile
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
create index scrape_runs_ended_at_idx on scrape_runs (finished_at) where finished_at is not null;
