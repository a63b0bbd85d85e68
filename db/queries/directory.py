"""Searches of accounts for admins: SQL over the table `directory` (sql/0013), without admins and deleted accounts."""

from db.queries.search import Sort, contains, find_page, grams_of

SORTS = {
    ("createdAt", "desc"): Sort("created_at", "timestamptz", "'infinity'"),
    ("createdAt", "asc"): Sort("created_at", "timestamptz", "'-infinity'", "asc"),
    ("name", "desc"): Sort("name", "text", "(select max(name) from directory)"),
    ("name", "asc"): Sort("name", "text", "''", "asc"),
    ("email", "desc"): Sort("email", "text", "(select max(email) from directory)"),
    ("email", "asc"): Sort("email", "text", "''", "asc"),
}

# The first parameters of every statement here: $1 text, $2 role, $3 status, $4 whether verified. Null: no filter.


def matches(t: str) -> str:
    """Return SQL for whether row `t` matches all filters, computed from its columns."""
    return f"""
        ($1::text is null or {contains(f"{t}.document", "$1")})
        and ($2::text is null or {t}.role = $2) and ($3::text is null or {t}.status = $3)
        and ($4::boolean is null or {t}.verified = $4)
    """


def has_text(t: str, pattern: str) -> str:
    """Return SQL for whether row `t` contains a text: the index of terms finds candidates, the document decides."""
    return f"{terms(t)} @> (select {grams_of(pattern)}) and {contains(f'{t}.document', pattern)}"


def terms(t: str) -> str:
    return f"directory_terms({t}.role, {t}.status, {t}.verified, {t}.document)"


FOUND = f"""
    from directory f
    where {terms("f")} @> (
        select array_remove(array['role:' || $2, 'status:' || $3, 'verified:' || $4], null) || {grams_of("$1")}
    ) and {matches("f")}
"""

COUNT_DIRECTORY = f"""
    select case when num_nonnulls($1::text, $2::text, $3::text, $4::boolean) = 0
        then (select count(*) from directory) else (select count(*) {FOUND}) end
"""


def list_directory(name: str, sort: Sort, body: str, walk: int) -> str:
    """Return the statement for a page: (body, name, key, id) after the key ($5, $6), with limit $7 and offset $8.

    `body` is built from user `u`. `name` is stored in cursors, so that a cursor of another sort is rejected."""
    key = sort.key("$5", "$6")
    rows = f"directory r where {sort.after(f'r.{sort.column}', 'r.user_id', key)}"
    found = f"select f.user_id, f.{sort.column} as key {FOUND}"
    page = find_page(
        sort, "user_id", key, rows=rows, matches=matches("w"), found=found, fetch="$7", offset="$8", walk=walk
    )
    return f"""
        with {page}
        select {body} as body, '{name}' as sort, page.key, page.user_id
        from page join users u on u.id = page.user_id
        {sort.by("page.key", "page.user_id")}
    """
