"""Who can be discovered: searches and sorts over the table `listings` (sql/0031), which keeps itself.

A page is found in one of two ways, and each is cheap where the other is not. Walking along the sort's index ends soon
when many listings match; gathering by the index of terms is short when few do. The statement walks over at most `walk`
listings, and gathers only if that did not fill the page: so whatever is asked costs little more than the better way,
no estimate of the planner decides, and a deep page costs what the first one does.
"""

from typing import NamedTuple

# About where the two ways meet: when the first 1,000 of 100,000 listings do not fill a page of 20, some 2,000 match in
# all, and to gather those takes no longer.
WALK = 1_000
# Numbered pages count from the start, through 10,000 rows at most (handlers/paging.py).
WALK_NUMBERED = 12_000
LAST_ID = "'ffffffff-ffff-ffff-ffff-ffffffffffff'"


class Sort(NamedTuple):
    """A column to sort by, falling; `top` is at or above everything in it."""

    column: str
    type: str
    top: str


RECENT = Sort("created_at", "timestamptz", "'infinity'")
FOLLOWERS = Sort("followers_count", "bigint", "9223372036854775807")
ENGAGEMENT = Sort("engagement_rate", "double precision", "'NaN'")

# The first parameters of every statement here: $1 the role that is sought, $2 text, $3 categories (any of them),
# $4 region, $5 and $6 least and most followers; null: no matter.


def has_followers(t: str) -> str:
    return f"{t}.followers_count between coalesce($5::bigint, 0) and coalesce($6::bigint, {FOLLOWERS.top})"


def matches(t: str) -> str:
    """Whether listing `t` is what is sought, by looking at it. A text is sought as it stands: nothing is a wildcard."""
    return f"""
        ($2::text is null or strpos({t}.document, (select fold($2))) > 0)
        and ($3::text[] is null or {t}.categories && $3) and ($4::text is null or {t}.region = $4)
        and {has_followers(t)}
    """


def has_terms(t: str) -> str:
    """The same by the index of terms, as near as it knows. What would be no term at all is the role, which all have."""
    terms = f"listing_terms({t}.role, {t}.region, {t}.categories, {t}.followers_count, {t}.document)"
    return f"""
        {terms} @> (select array[$1::text, coalesce('region:' || $4, $1)] || search_grams(coalesce(fold($2), '')))
        and {terms} && (select coalesce($3, array[$1]))
        and {terms} && (select case when $5 is null and $6 is null then array[$1] else array(
            select 'followers:' || step from generate_series(
                follower_step(coalesce($5, 0)), follower_step(coalesce($6, {FOLLOWERS.top}))) step) end)
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
    key, id = f"coalesce($7::{sort.type}, {sort.top})", f"coalesce($8::uuid, {LAST_ID})"
    start, start_id, end = key, id, ""
    if sort is FOLLOWERS:
        # Those who have too many come before the start. As a condition of its own the bound would draw the index scan
        # to itself, which then would pass all pages before this one.
        start = f"least($7::bigint, $6, {sort.top})"
        start_id = f"case when $7 > $6 then {LAST_ID} else {id} end"
        end = "and l.followers_count >= coalesce($5, 0)"
    rest = f"""listings l
        where l.role = $1 and (l.{sort.column}, l.user_id) < ({start}, {start_id}) {end}
        order by l.{sort.column} desc, l.user_id desc"""
    return f"""
    with walked as materialized (
        select w.user_id, w.{sort.column} as key from (select l.* from {rest} limit {walk}) w
        where {matches("w")}
        order by w.{sort.column} desc, w.user_id desc limit $9 offset $10
    ), outcome as materialized (
        select case when (select count(*) from walked) < $9
            then exists (select from {rest} offset {walk} limit 1) else false end as unfinished
    ), gathered as materialized (
        select g.user_id, g.{sort.column} as key from listings g where {has_terms("g")} and {matches("g")}
    ), page as (
        select * from walked where not (select unfinished from outcome)
        union all (
            select * from gathered where (select unfinished from outcome)
                and (key, user_id) < ({key}, {id})
            order by key desc, user_id desc limit $9 offset $10
        )
    )
    select {body} as body, '{name}' as sort, page.key, page.user_id
    from page join {profiles} p on p.user_id = page.user_id join users u on u.id = page.user_id
    left join lateral (
        select id, status, sender_id = $11 as sent from connection_requests
        where least(sender_id, receiver_id) = least(u.id, $11)
            and greatest(sender_id, receiver_id) = greatest(u.id, $11) and status <> 'REJECTED'
    ) r on true
    order by page.key desc, page.user_id desc
"""
