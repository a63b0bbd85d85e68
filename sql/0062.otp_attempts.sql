-- Wrong codes by address and purpose. Addresses without an account are counted too, so that no answer tells them apart.
create table otp_attempts (
    email text not null,                    -- lower case
    purpose text not null,
    attempts int not null default 0,
    expires_at timestamptz not null,
    constraint otp_attempts_pkey primary key (email, purpose),
    constraint otp_attempts_purpose_check check (purpose in ('VERIFY', 'RESET'))
);
create index otp_attempts_expires_at_idx on otp_attempts (expires_at);
