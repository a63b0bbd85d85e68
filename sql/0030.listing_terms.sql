-- fold: how texts are compared in searches. Full and half width, ligatures and letter case make no difference.
create function fold(text) returns text
    language sql immutable parallel safe strict
    return lower(normalize($1, NFKC));

-- grams: a text's characters and pairs of neighbours (doubles included). Trigrams could not serve one or two characters,
-- nor any script that the database's locale does not take for letters; these can, and are as fast for longer texts.
create function grams(text) returns text[]
    language sql immutable parallel safe strict
    return string_to_array($1, null)
        || array(select a || b from unnest(string_to_array($1, null), string_to_array(substr($1, 2), null)) as pair(a, b)
            where b is not null);

-- search_grams: those that a text must have to contain the pattern; 20 are enough to be selective.
create function search_grams(pattern text) returns text[]
    language sql immutable parallel safe strict
    return case when length(pattern) < 2 then grams(pattern)
        else array(select distinct gram from unnest(grams(left(pattern, 21))) gram where length(gram) = 2) end;

-- follower_step: eight steps a decade, so that a range of followers is a short list of terms.
create function follower_step(bigint) returns int
    language sql immutable parallel safe strict
    return floor(8 * log(greatest($1, 1)::double precision))::int;

-- listing_terms: everything a listing is found by, in one array and so in one index. Grams have at most two characters,
-- categories and what is written with a colon more, roles are upper case: no two kinds meet.
create function listing_terms(role text, region text, categories text[], followers bigint, document text) returns text[]
    language sql immutable parallel safe cost 1000
    return array[role, 'region:' || region, 'followers:' || follower_step(followers)] || categories || grams(document);
