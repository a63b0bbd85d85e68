create table users (
    id uuid not null default new_id(),
    name text not null,
    email text,                          -- null once the account is deleted
    password_hash text,                  -- null once the account is deleted
    role text not null,
    status text not null default 'ACTIVE',
    email_verified_at timestamptz,
    terms_accepted_at timestamptz,
    onboarded_at timestamptz,
    last_seen_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint users_pkey primary key (id),
    constraint users_name_check check (name <> ''),
    constraint users_role_check check (role in ('INFLUENCER', 'SALON', 'ADMIN')),
    constraint users_status_check check (status in ('ACTIVE', 'SUSPENDED', 'DELETED')),
    constraint users_deleted_check check ((status = 'DELETED') = (email is null))
);
create unique index users_email_key on users (lower(email));
create index users_created_at_idx on users (created_at desc, id desc);

create table influencers (
    id uuid not null default new_id(),
    user_id uuid not null,
    phone_no text,
    bio text,
    profile_pic text,
    categories text[] not null default '{}',
    region text,
    age int,
    gender text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint influencers_pkey primary key (id),
    constraint influencers_user_id_key unique (user_id),
    constraint influencers_user_id_fkey foreign key (user_id) references users on delete cascade,
    constraint influencers_gender_check check (gender in ('MALE', 'FEMALE', 'NON_BINARY', 'PREFER_NOT_TO_SAY')),
    constraint influencers_age_check check (age between 13 and 120)
);

create table salons (
    id uuid not null default new_id(),
    user_id uuid not null,
    phone_no text,
    business_name text,
    description text,
    profile_pic text,
    preferred_categories text[] not null default '{}',
    region text,
    website text,
    established_year int,
    team_size int,
    operating_hours text,
    instagram_handle text,
    tiktok_handle text,
    facebook_page text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint salons_pkey primary key (id),
    constraint salons_user_id_key unique (user_id),
    constraint salons_user_id_fkey foreign key (user_id) references users on delete cascade,
    constraint salons_team_size_check check (team_size >= 1)
);
