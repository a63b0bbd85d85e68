-- follower_step: return the step of a number on a logarithmic scale, so that a range of followers is a short list of terms.
create function follower_step(bigint) returns int
    language sql immutable parallel safe strict
    return floor(8 * log(greatest($1, 1)::double precision))::int;

-- listing_terms: return all terms by which the index finds a listing, in one array and so in one index. Grams have at most
-- two characters, categories and terms with a colon have more, and roles are upper case: no two kinds can be equal.
create function listing_terms(role text, region text, categories text[], followers bigint, document text) returns text[]
    language sql immutable parallel safe cost 1000
    return array[role, 'region:' || region, 'followers:' || follower_step(followers)] || categories || grams(document);

-- Profiles that can be discovered: one row for each onboarded, verified, active account, with all columns that searches
-- filter and sort by. Only refresh_listing writes here. Searches read users, influencers and salons for their results only.
create table listings (
    user_id uuid not null,
    role text not null,
    region text,
    categories text[] not null,
    category_set text not null,                -- the same as one text: its index is a tenth of the size
    followers_count bigint not null,           -- the highest of the active accounts
    engagement_rate double precision not null, -- of that account
    created_at timestamptz not null,
    document text collate "C" not null,        -- folded: names, bio or description, handles
    constraint listings_pkey primary key (user_id),
    constraint listings_user_id_fkey foreign key (user_id) references users on delete cascade,
    constraint listings_role_check check (role in ('INFLUENCER', 'SALON'))
);
create index listings_recent_idx on listings (role, created_at, user_id);
create index listings_followers_idx on listings (role, followers_count, user_id);
create index listings_engagement_idx on listings (role, engagement_rate, user_id);
create index listings_region_idx on listings (role, region);
create index listings_category_set_idx on listings (role, category_set);
-- No fastupdate: profiles change rarely, and every search would read the whole pending list.
create index listings_terms_idx on listings
    using gin (listing_terms(role, region, categories, followers_count, document)) with (fastupdate = off);
-- Statistics of the terms would take ANALYZE seconds, and no plan needs them.
alter index listings_terms_idx alter column 1 set statistics 0;

create view listing_sources as
    select u.id as user_id, u.role, i.region, i.categories, array_to_string(i.categories, ',') as category_set,
        coalesce(a.followers_count[1], 0) as followers_count, coalesce(a.engagement_rate[1], 0) as engagement_rate,
        i.created_at, fold(concat_ws(E'\n', u.name, i.bio, a.handles)) as document
    from users u join influencers i on i.user_id = u.id left join lateral (
        select string_agg('@' || username, E'\n') as handles,
            array_agg(followers_count order by followers_count desc, engagement_rate desc) as followers_count,
            array_agg(engagement_rate order by followers_count desc, engagement_rate desc) as engagement_rate
        from social_media_accounts where influencer_id = i.id and is_active
    ) a on true
    where u.role = 'INFLUENCER' and u.status = 'ACTIVE' and u.email_verified_at is not null and u.onboarded_at is not null
    union all
    select u.id, u.role, s.region, s.preferred_categories, array_to_string(s.preferred_categories, ','), 0, 0,
        s.created_at,
        fold(concat_ws(E'\n', u.name, s.business_name, s.description, '@' || ltrim(s.instagram_handle, '@'),
            '@' || ltrim(s.tiktok_handle, '@'), s.facebook_page))
    from users u join salons s on s.user_id = u.id
    where u.role = 'SALON' and u.status = 'ACTIVE' and u.email_verified_at is not null and u.onboarded_at is not null;

-- Two transactions that change one person's name and bio wait for each other, so that neither writes outdated text.
create function refresh_listing(person uuid) returns void language plpgsql as $$
begin
    perform pg_advisory_xact_lock(hashtextextended(person::text, 31));
    delete from listings where user_id = person and not exists (select from listing_sources s where s.user_id = person);
    insert into listings as l select * from listing_sources s where s.user_id = person
    on conflict (user_id) do update set role = excluded.role, region = excluded.region,
        categories = excluded.categories, category_set = excluded.category_set,
        followers_count = excluded.followers_count, engagement_rate = excluded.engagement_rate,
        created_at = excluded.created_at, document = excluded.document
    where l is distinct from excluded;
end $$;

create function refresh_user_listing() returns trigger language plpgsql as $$
begin
    perform refresh_listing(new.id);
    return null;
end $$;

create function refresh_profile_listing() returns trigger language plpgsql as $$
begin
    perform refresh_listing(coalesce(new.user_id, old.user_id));
    return null;
end $$;

create function refresh_account_listing() returns trigger language plpgsql as $$
begin
    perform refresh_listing(user_id) from influencers where id = coalesce(new.influencer_id, old.influencer_id);
    return null;
end $$;

-- Deferred to the commit, after all other locks of the transaction are taken, so that two transactions cannot deadlock.
create constraint trigger users_listing after update of name, role, status, email_verified_at, onboarded_at on users
    deferrable initially deferred for each row execute function refresh_user_listing();
create constraint trigger influencers_listing after insert or delete or update of bio, region, categories on influencers
    deferrable initially deferred for each row execute function refresh_profile_listing();
create constraint trigger salons_listing after insert or delete or update of business_name, description,
        preferred_categories, region, instagram_handle, tiktok_handle, facebook_page on salons
    deferrable initially deferred for each row execute function refresh_profile_listing();
create constraint trigger social_media_accounts_listing
    after insert or delete or update of username, followers_count, engagement_rate, is_active on social_media_accounts
    deferrable initially deferred for each row execute function refresh_account_listing();

insert into listings select * from listing_sources;
