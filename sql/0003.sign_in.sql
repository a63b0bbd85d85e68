-- At most one code alive per account and purpose: a new one replaces the row. Only a keyed hash is kept.
create table otps (
    user_id uuid not null,
    purpose text not null,
    code_hash bytea not null,
    attempts int not null default 0,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    constraint otps_pkey primary key (user_id, purpose),
    constraint otps_user_id_fkey foreign key (user_id) references users on delete cascade,
    constraint otps_purpose_check check (purpose in ('VERIFY', 'RESET'))
);
create index otps_expires_at_idx on otps (expires_at);

-- A session is a family of refresh tokens; its generation is the number of the one that still works.
create table sessions (
    id uuid not null default new_id(),
    user_id uuid not null,
    generation int not null default 1,
    ip_address text,
    user_agent text,
    created_at timestamptz not null default now(),
    rotated_at timestamptz not null default now(),
    expires_at timestamptz not null,
    ended_at timestamptz,
    end_reason text,
    constraint sessions_pkey primary key (id),
    constraint sessions_user_id_fkey foreign key (user_id) references users on delete cascade,
    constraint sessions_end_reason_check
        check (end_reason in ('LOGGED_OUT', 'SUSPENDED', 'DELETED', 'PASSWORD_CHANGED', 'REUSED', 'REPLACED'))
);
create index sessions_user_id_idx on sessions (user_id, created_at) where ended_at is null;
create index sessions_expires_at_idx on sessions (expires_at);
-- What every instance asks a few times a second: whose session has just ended?
create index sessions_ended_at_idx on sessions (ended_at) where ended_at is not null;
