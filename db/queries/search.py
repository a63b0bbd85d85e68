"""Lists that are searched, filtered and sorted: pages that cost the same however deep they are, whatever is sought.

A page is found in one of two ways, and each is cheap where the other is not. Walking along the sort's index ends soon
when many rows match; gathering by the index of terms is short when few do. A statement walks over at most `walk` rows,
and gathers only if that did not fill the page: so its cost is close to the better way's, no estimate of the planner
decides, and a deep page costs what the first one does.
"""

from typing import Literal, NamedTuple

# About where the two ways meet: when the first 1,000 of 100,000 rows do not fill a page of 20, some 2,000 match in all,
# and to gather those takes no longer.
WALK = 1_000
# Numbered pages count from the start, through 10,000 rows at most (handlers/http/paging.py).
WALK_NUMBERED = 12_000
FIRST_ID = "'00000000-0000-0000-0000-000000000000'::uuid"
LAST_ID = "'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid"


class Sort(NamedTuple):
    """A column to sort by; no row comes before `start`, which is above all values if the sort falls, else below all."""

    column: str
    type: str
    start: str
    way: Literal["desc", "asc"] = "desc"
    lead: tuple[str, ...] = ()  # columns that stand before it in the index, and are equal in all rows that are sought

    def key(self, value: str, id: str) -> tuple[str, str]:
        """SQL of the key that a page continues after, from two parameters that are null at the start of the list.

        Unlike “$1 is null or …”, a plan that PostgreSQL keeps for all pages still seeks in the index.
        """
        first = LAST_ID if self.way == "desc" else FIRST_ID
        return f"coalesce({value}::{self.type}, {self.start})", f"coalesce({id}::uuid, {first})"

    def after(self, column: str, id: str, key: tuple[str, str]) -> str:
        return f"({column}, {id}) {'<' if self.way == 'desc' else '>'} ({key[0]}, {key[1]})"

    def by(self, *columns: str) -> str:
        return "order by " + ", ".join(f"{column} {self.way}" for column in columns)


LATEST = Sort("created_at", "timestamptz", "'infinity'")


def contains(document: str, pattern: str) -> str:
    """SQL: whether a folded text contains a text as it stands; no character of it is a wildcard."""
    return f"strpos({document}, (select fold({pattern}))) > 0"


def grams_of(pattern: str) -> str:
    """SQL: the terms that a document with this text must have; none for null."""
    return f"search_grams(coalesce(fold({pattern}), ''))"


def find_page(
    sort: Sort,
    id: str,
    key: tuple[str, str],
    *,
    rows: str,
    matches: str,
    found: str,
    fetch: str,
    offset: str,
    walk: int | str,
) -> str:
    """CTEs that end with `page`: the ids of its rows and their `key`, unordered.

    `rows` are those to walk over (`table r where …`, from the key on), `matches` looks at one of them, `w`. `found`
    selects id and key of all rows that match, by the index of terms.
    """
    columns = (*sort.lead, sort.column, id)
    rest = f"{rows} {sort.by(*(f'r.{column}' for column in columns))}"
    return f"""
        walked as materialized (
            select w.{id}, w.{sort.column} as key from (select * from {rest} limit {walk}) w
            where {matches}
            {sort.by(*(f"w.{column}" for column in columns))} limit {fetch} offset {offset}
        ), outcome as materialized (
            select case when (select count(*) from walked) < {fetch}
                then exists (select from {rest} offset {walk} limit 1) else false end as unfinished
        ), gathered as materialized (
            {found}
        ), page as (
            select * from walked where not (select unfinished from outcome)
            union all (
                select * from gathered where (select unfinished from outcome) and {sort.after("key", id, key)}
                {sort.by("key", id)} limit {fetch} offset {offset}
            )
        )
    """
