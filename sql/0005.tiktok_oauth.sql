-- Sign-ins at TikTok. Each is valid once, for the user and session that started it, for ten minutes. After TikTok's redirect
-- back, the row stores the redirect's answer and the outcome, so that a reload of the page gets the same response.
create table oauth_states (
    id uuid not null default new_id(),
    user_id uuid not null,
    session_id uuid not null,
    verifier bytea,                      -- PKCE; AES-256-GCM envelope bound to this row's id; null once it has been used
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    answer_hash bytea,                   -- of the code or the error; null until the redirect
    answered_at timestamptz,
    outcome text,                        -- null while the code is exchanged
    constraint oauth_states_pkey primary key (id),
    constraint oauth_states_user_id_fkey foreign key (user_id) references users on delete cascade,
    constraint oauth_states_session_id_fkey foreign key (session_id) references sessions on delete cascade
);
create index oauth_states_user_id_idx on oauth_states (user_id, created_at);
create index oauth_states_session_id_idx on oauth_states (session_id);
create index oauth_states_expires_at_idx on oauth_states (expires_at);

-- Tokens of disconnected accounts: stored in the transaction that disconnects the account, revoked at the vendor after its
-- commit, and retried by housekeeping until the vendor answers.
create table token_revocations (
    id uuid not null default new_id(),
    account_id uuid not null,            -- of the deleted account: the envelopes are bound to it
    access_token bytea not null,
    attempts int not null default 0,
    created_at timestamptz not null default now(),
    refresh_token bytea,                 -- revokes the grant, also when the access token has expired
    constraint token_revocations_pkey primary key (id)
);
create index token_revocations_created_at_idx on token_revocations (created_at, id);
