-- A sign-in at TikTok that has begun: works once, for the user and session that began it, for ten minutes.
create table oauth_states (
    id uuid not null default new_id(),
    user_id uuid not null,
    session_id uuid not null,
    verifier bytea not null,             -- PKCE; AES-256-GCM envelope bound to this row's id
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,

    constraint oauth_states_pkey primary key (id),
    constraint oauth_states_user_id_fkey foreign key (user_id) references users on delete cascade,
    constraint oauth_states_session_id_fkey foreign key (session_id) references sessions on delete cascade
);
create index oauth_states_user_id_idx on oauth_states (user_id, created_at);
create index oauth_states_session_id_idx on oauth_states (session_id);
create index oauth_states_expires_at_idx on oauth_states (expires_at);

-- Access that people have ended: written in the transaction that ends it, withdrawn at the vendor after its commit, tried
-- again by housekeeping until the vendor answers.
create table token_revocations (
    id uuid not null default new_id(),
    account_id uuid not null,            -- of the row that held it, gone by now: the envelope is bound to it
    access_token bytea not null,
    attempts int not null default 0,
    created_at timestamptz not null default now(),

    constraint token_revocations_pkey primary key (id)
);
create index token_revocations_created_at_idx on token_revocations (created_at, id);

-- Who refreshes tokens claims them: a refresh token works once.
alter table social_media_accounts add column refresh_claimed_until timestamptz;
