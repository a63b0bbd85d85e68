create or replace function fold(text) returns text
    language sql immutable parallel safe strict
    return lower(normalize($1, NFKC));
update listings l set document = s.document from listing_sources s where s.user_id = l.user_id;
