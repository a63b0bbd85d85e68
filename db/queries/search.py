"""SQL for pages of searched, filtered and sorted lists. A deep page costs as much as the first one.

There are two ways to find a page. Walking along the index of the sort is fast if many rows match; gathering all matches
from the index of terms is fast if few do. A statement first walks over at most `walk` rows, and gathers only if that
did not fill the page. So the cost is close to that of the better way, and does not depend on the planner's estimates.
"""

from typing import Literal, NamedTuple

# Both ways cost about the same here: if the first 1,000 of 100,000 rows do not fill a page of 20, at most about 2,000
# rows match, and gathering those takes no longer.
WALK = 1_000
# Numbered pages count from the start, through 10,000 rows at most (handlers/http/paging.py).
WALK_NUMBERED = 12_000
FIRST_ID = "'00000000-0000-0000-0000-000000000000'::uuid"
LAST_ID = "'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid"


class Sort(NamedTuple):
    """A column to sort by. `start` is beyond its first value: above all values if descending, else below all."""

    column: str
    type: str
    start: str
    way: Literal["desc", "asc"] = "desc"
    lead: tuple[str, ...] = ()  # columns before it in the index; equal in all rows of the list

    def key(self, value: str, id: str) -> tuple[str, str]:
        """Return SQL of the key that a page continues after, from two parameters that are null for the first page.

        Unlike “$1 is null or …”, this lets a generic plan use the index.
        """
        first = LAST_ID if self.way == "desc" else FIRST_ID
        return f"coalesce({value}::{self.type}, {self.start})", f"coalesce({id}::uuid, {first})"

    def after(self, column: str, id: str, key: tuple[str, str]) -> str:
        return f"({column}, {id}) {'<' if self.way == 'desc' else '>'} ({key[0]}, {key[1]})"

    def by(self, *columns: str) -> str:
        return "order by " + ", ".join(f"{column} {self.way}" for column in columns)


LATEST = Sort("created_at", "timestamptz", "'infinity'")


def contains(document: str, pattern: str) -> str:
    """Return SQL for whether a folded text contains a text literally, without wildcards."""
    return f"strpos({document}, (select fold({pattern}))) > 0"


def grams_of(pattern: str) -> str:
    """Return SQL for the terms that a document with this text must have; null has none."""
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
    """Return CTEs, the last of which is `page`: the ids of its rows and their `key`, unordered.

    `rows` gives the rows to walk over (`table r where …`, from the key on), `matches` is the condition for one of them,
    `w`. `found` selects id and key of all matching rows by the index of terms.
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
