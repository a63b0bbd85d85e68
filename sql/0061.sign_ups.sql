-- Sign-ups that wait for their code. Several may wait for one address: each has a name, role, password and code of its
-- own, and the account takes those of the sign-up whose code is entered (db/queries/sign_ups.py).
create table sign_ups (
    id uuid not null default new_id(),      -- random, so that it also is the `signUpToken` of its client
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

-- Accounts that wait for a code already: their sign-up, with the code that was mailed.
insert into sign_ups
    (user_id, network, device, name, role, phone_no, password_hash, code_hash, attempts, code_expires_at, created_at)
select u.id, 'unknown', 'unknown', u.name, u.role, coalesce(i.phone_no, s.phone_no), u.password_hash,
    coalesce(o.code_hash, ''), coalesce(o.attempts, 0), coalesce(o.expires_at, now()),
    coalesce(u.terms_accepted_at, u.created_at)
from users u
left join influencers i on i.user_id = u.id
left join salons s on s.user_id = u.id
left join otps o on o.user_id = u.id and o.purpose = 'VERIFY'
where u.email_verified_at is null and u.status <> 'DELETED' and u.role <> 'ADMIN' and u.password_hash is not null;
