-- Each account has at most one valid code per purpose: a new code replaces the row. Only a keyed hash is stored.
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

-- A session is a family of refresh tokens; `generation` is the number of the token that is valid.
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
-- Every instance asks a few times a second which sessions have just ended.
create index sessions_ended_at_idx on sessions (ended_at) where ended_at is not null;

-- Wrong codes by address and purpose. Addresses without an account are counted too, so that no answer shows the difference.
create table otp_attempts (
    email text not null,                    -- lower case
    purpose text not null,
    attempts int not null default 0,
    expires_at timestamptz not null,
    constraint otp_attempts_pkey primary key (email, purpose),
    constraint otp_attempts_purpose_check check (purpose in ('VERIFY', 'RESET'))
);
create index otp_attempts_expires_at_idx on otp_attempts (expires_at);

-- Sign-ups that wait for their code. Several may wait for one address: each has a name, role, password and code of its
-- own, and the account takes those of the sign-up whose code is entered (db/queries/sign_ups.py).
create table sign_ups (
    id uuid not null default new_id(),      -- random: the client uses it as `signUpToken`
    user_id uuid not null,
    network text not null,                  -- an IPv4 address or an IPv6 /64
    device text not null,                   -- for the mail
    name text not null,
    role text not null,
    phone_no text,
    password_hash text not null,
    code_hash bytea not null,
    attempts int not null default 0,
    code_expires_at timestamptz not null,
    created_at timestamptz not null default clock_timestamp(),
    constraint sign_ups_pkey primary key (id),
    constraint sign_ups_user_id_fkey foreign key (user_id) references users on delete cascade,
    constraint sign_ups_network_key unique (user_id, network),
    constraint sign_ups_role_check check (role in ('INFLUENCER', 'SALON'))
);
create index sign_ups_code_expires_at_idx on sign_ups (code_expires_at);

-- Networks from which an account was signed in to, so that other people who guess its password cannot lock its owner out.
-- Only a keyed hash of the network is stored.
create table known_networks (
    user_id uuid not null,
    network_hash bytea not null,
    last_used_at timestamptz not null default now(),
    constraint known_networks_pkey primary key (user_id, network_hash),
    constraint known_networks_user_id_fkey foreign key (user_id) references users on delete cascade
);
create index known_networks_last_used_at_idx on known_networks (last_used_at);
