"""Searches of discoverable users: SQL over the table `listings` (sql/0012), which triggers update."""

from db.fragments import is_between
from db.queries.search import LAST_ID, Sort, contains, find_page, grams_of

FOLLOWERS = Sort("followers_count", "bigint", "9223372036854775807")
ENGAGEMENT = Sort("engagement_rate", "double precision", "'NaN'")

# The first parameters of every statement here: $1 the role to find, $2 text, $3 categories (any of them), $4 region,
# $5 and $6 minimum and maximum of followers. Null means no filter.


def has_followers(t: str) -> str:
    return f"{t}.followers_count between coalesce($5::bigint, 0) and coalesce($6::bigint, {FOLLOWERS.start})"


def matches(t: str) -> str:
    """Return SQL for whether listing `t` matches all filters, computed from its columns."""
    return f"""
        ($2::text is null or {contains(f"{t}.document", "$2")})
        and ($3::text[] is null or {t}.categories && $3) and ($4::text is null or {t}.region = $4)
        and {has_followers(t)}
    """


def has_terms(t: str) -> str:
    """Return SQL that finds candidates by the index of terms. A missing filter becomes the role, a term of all rows."""
    terms = f"listing_terms({t}.role, {t}.region, {t}.categories, {t}.followers_count, {t}.document)"
    return f"""
        {terms} @> (select array[$1::text, coalesce('region:' || $4, $1)] || {grams_of("$2")})
        and {terms} && (select coalesce($3, array[$1]))
        and {terms} && (select case when $5 is null and $6 is null then array[$1] else array(
            select 'followers:' || step from generate_series(
                follower_step(coalesce($5, 0)), follower_step(coalesce($6, {FOLLOWERS.start}))) step) end)
    """


# Without a filter it counts by the small index of a sort; with one, by the index of terms.
COUNT_LISTINGS = f"""
    select case when num_nonnulls($2::text, $3::text[], $4::text, $5::bigint, $6::bigint) = 0
        then (select count(*) from listings where role = $1)
        else (select count(*) from listings l where {has_terms("l")} and {matches("l")}) end
"""


def list_listings(name: str, sort: Sort, profiles: str, body: str, walk: int) -> str:
    """Return the statement for a page: (body, name, key, user id), the last two in descending order.

    $7 and $8 are key and user id of the last row of the page before, $9 the limit, $10 the offset, $11 the caller.
    `body` is built from profile `p` (of table `profiles`), its user `u` and connection `r`. `name` is stored in
    cursors, so that a cursor of another sort is rejected."""
    key = sort.key("$7", "$8")
    start, end = key, ""
    if sort is FOLLOWERS:
        # The maximum of followers is part of the start key. As a separate condition it would become the start of the
        # index scan, which would then read all pages before this one.
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
