"""Who can be discovered: searches and sorts over the table `listings` (sql/0012), which triggers keep."""

from db.fragments import is_between
from db.queries.search import LAST_ID, Sort, contains, find_page, grams_of

FOLLOWERS = Sort("followers_count", "bigint", "9223372036854775807")
ENGAGEMENT = Sort("engagement_rate", "double precision", "'NaN'")

# The first parameters of every statement here: $1 the role that is sought, $2 text, $3 categories (any of them),
# $4 region, $5 and $6 least and most followers; null: no matter.


def has_followers(t: str) -> str:
    return f"{t}.followers_count between coalesce($5::bigint, 0) and coalesce($6::bigint, {FOLLOWERS.start})"


def matches(t: str) -> str:
    """Whether listing `t` is what is sought, by looking at it."""
    return f"""
        ($2::text is null or {contains(f"{t}.document", "$2")})
        and ($3::text[] is null or {t}.categories && $3) and ($4::text is null or {t}.region = $4)
        and {has_followers(t)}
    """


def has_terms(t: str) -> str:
    """The same by the index of terms, as near as it knows. What would be no term at all is the role, which all have."""
    terms = f"listing_terms({t}.role, {t}.region, {t}.categories, {t}.followers_count, {t}.document)"
    return f"""
        {terms} @> (select array[$1::text, coalesce('region:' || $4, $1)] || {grams_of("$2")})
        and {terms} && (select coalesce($3, array[$1]))
        and {terms} && (select case when $5 is null and $6 is null then array[$1] else array(
            select 'followers:' || step from generate_series(
                follower_step(coalesce($5, 0)), follower_step(coalesce($6, {FOLLOWERS.start}))) step) end)
    """


# Without a filter the narrow index of a sort knows; with one, the index of terms.
COUNT_LISTINGS = f"""
    select case when num_nonnulls($2::text, $3::text[], $4::text, $5::bigint, $6::bigint) = 0
        then (select count(*) from listings where role = $1)
        else (select count(*) from listings l where {has_terms("l")} and {matches("l")}) end
"""


def list_listings(name: str, sort: Sort, profiles: str, body: str, walk: int) -> str:
    """The statement for a page: (body, name, key, user id), in falling order of the last two, after ($7, $8) of the
    last page, at most $9, skipping $10, for $11 who looks. `body` is made of profile `p` (of table `profiles`), its
    user `u` and connection `r`; `name` stands in cursors, so that no other sort takes one for its own."""
    key = sort.key("$7", "$8")
    start, end = key, ""
    if sort is FOLLOWERS:
        # Those who have too many come before the start. As a condition of its own the bound would draw the index scan
        # to itself, which then would pass all pages before this one.
        start = f"least($7::bigint, $6, {sort.start})", f"case when $7 > $6 then {LAST_ID} else {key[1]} end"
        end = "and r.followers_count >= coalesce($5, 0)"
    rows = f"listings r where r.role = $1 and {sort.after(f'r.{sort.column}', 'r.user_id', start)} {end}"
    found = f"""
        select g.user_id, g.{sort.column} as key from listings g where {has_terms("g")} and {matches("g")}
    """
    page = find_page(
        sort, "user_id", key, rows=rows, matches=matches("w"), found=found, fetch="$9", offset="$10", walk=walk
    )
    return f"""
    with {page}
    select {body} as body, '{name}' as sort, page.key, page.user_id
    from page join {profiles} p on p.user_id = page.user_id join users u on u.id = page.user_id
    left join lateral (
        select id, status, sender_id = $11 as sent from connection_requests q
        where {is_between("q", "u.id", "$11")} and status <> 'REJECTED'
    ) r on true
    {sort.by("page.key", "page.user_id")}
"""
