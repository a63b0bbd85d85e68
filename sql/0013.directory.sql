-- One row for each account except admins and deleted ones, with all columns that lists of users, contacts and connections
-- search, filter and sort by. Only refresh_directory writes here.
create table directory (
    user_id uuid not null,
    role text not null,
    status text not null,
    verified boolean not null,             -- and active, as admins' lists show it
    created_at timestamptz not null,
    name text not null,                    -- folded, for sorting; cut, because an index cannot hold long texts
    email text not null,                   -- folded
    names text collate "C" not null,       -- folded: name and business name
    document text collate "C" not null,    -- names and e-mail
    constraint directory_pkey primary key (user_id),
    constraint directory_user_id_fkey foreign key (user_id) references users on delete cascade
);
create index directory_created_at_idx on directory (created_at, user_id);
create index directory_name_idx on directory (name, user_id);
create index directory_email_idx on directory (email, user_id);

-- directory_terms: return all terms by which the index finds a row, as listing_terms does.
create function directory_terms(role text, status text, verified boolean, document text) returns text[]
    language sql immutable parallel safe cost 1000
    return array['role:' || role, 'status:' || status, 'verified:' || verified] || grams(document);

create index directory_terms_idx on directory
    using gin (directory_terms(role, status, verified, document)) with (fastupdate = off);
alter index directory_terms_idx alter column 1 set statistics 0;

create view directory_sources as
    select u.id as user_id, u.role, u.status, u.email_verified_at is not null and u.status = 'ACTIVE' as verified,
        u.created_at, left(fold(u.name), 100) as name, fold(u.email) as email,
        fold(concat_ws(E'\n', u.name, s.business_name)) as names,
        fold(concat_ws(E'\n', u.name, s.business_name, u.email)) as document
    from users u left join salons s on s.user_id = u.id
    where u.role <> 'ADMIN' and u.status <> 'DELETED';

-- Takes the same lock as refresh_listing, so that a transaction takes only one lock for each person that it changes.
create function refresh_directory(person uuid) returns void language plpgsql as $$
begin
    perform pg_advisory_xact_lock(hashtextextended(person::text, 31));
    delete from directory where user_id = person
        and not exists (select from directory_sources s where s.user_id = person);
    insert into directory as d select * from directory_sources s where s.user_id = person
    on conflict (user_id) do update set role = excluded.role, status = excluded.status, verified = excluded.verified,
        created_at = excluded.created_at, name = excluded.name, email = excluded.email, names = excluded.names,
        document = excluded.document
    where d is distinct from excluded;
end $$;

create function refresh_user_directory() returns trigger language plpgsql as $$
begin
    perform refresh_directory(new.id);
    return null;
end $$;

create function refresh_salon_directory() returns trigger language plpgsql as $$
begin
    perform refresh_directory(coalesce(new.user_id, old.user_id));
    return null;
end $$;

create constraint trigger users_directory
    after insert or update of name, email, role, status, email_verified_at, created_at on users
    deferrable initially deferred for each row execute function refresh_user_directory();
create constraint trigger salons_directory after insert or delete or update of business_name on salons
    deferrable initially deferred for each row execute function refresh_salon_directory();

insert into directory select * from directory_sources;
