create table social_media_accounts (
    id uuid not null default new_id(),
    influencer_id uuid not null,
    platform text not null,
    username text not null,                  -- as the platform spells it, without @
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
    access_token bytea,                      -- AES-256-GCM envelopes, bound to this row's id
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
