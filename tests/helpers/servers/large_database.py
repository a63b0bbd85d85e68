"""A database of 100,000 people, requests and log entries, and the plans of statements in it."""

import json
from dataclasses import dataclass
from typing import Any

import asyncpg
from tornado.ioloop import IOLoop

from db.connect import SERVER_SETTINGS
from db.seed.scale import add_people, indexes_built_last

PEOPLE = 100_000
CONTACTS = 300  # of one salon
TABLES = {
    "users",
    "influencers",
    "salons",
    "social_media_accounts",
    "connection_requests",
    "listings",
    "directory",
    "activity_logs",
}

PERSON = "md5('scale ' || {n})::uuid"  # the names of db/seed/scale.py; every fourth user is a salon

# Each is between a salon and an influencer, the newest first. The pending ones are the oldest.
ADD_REQUESTS = f"""
    insert into connection_requests (sender_id, receiver_id, status, created_at)
    select case n % 2 when 0 then salon else influencer end, case n % 2 when 0 then influencer else salon end,
        case when n > 99000 then 'PENDING' when n % 3 = 0 then 'REJECTED' else 'ACCEPTED' end,
        now() - n * interval '1 minute'
    from generate_series(1::bigint, 100000) n, lateral (
        select {PERSON.format(n="(4 + n * 7919 % 25000 * 4)")} as salon,
            {PERSON.format(n="(1 + (n * 4729 + n / 25000 * 7) % 25000 * 4)")} as influencer
    ) p
    on conflict do nothing
"""

ADD_CONTACTS = f"""
    insert into connection_requests (sender_id, receiver_id, status, created_at)
    select {PERSON.format(n="4")}, {PERSON.format(n="(2 + n * 4)")}, 'ACCEPTED', now() - n * interval '2 minutes'
    from generate_series(1, $1::int) n
"""

# One kind of action occurs only among the oldest rows.
ADD_LOGS = f"""
    insert into activity_logs (action, description, admin_name, admin_email, target_user_id, target_user_name,
        target_user_email, ip_address, user_agent, created_at)
    select case when n > 99900 then 'USER_DELETED' when n % 2 = 0 then 'USER_UPDATED' else 'USER_SUSPENDED' end,
        'Updated ' || u.name || ' (' || u.email || ')', 'Admin', 'admin@example.com', u.id, u.name, u.email,
        '203.0.113.7', repeat('Mozilla/5.0 ', 8), now() - n * interval '1 minute'
    from generate_series(1, 100000) n join users u on u.id = {PERSON.format(n="n")}
"""

# Index-only scans skip a page of the table if a vacuum has marked it as visible to all; the snapshot of an autovacuum
# that runs at the same time can prevent the mark.
ARE_VISIBLE = """
    select bool_and(relallvisible = relpages) from pg_class where relname = any($1::text[])
"""
VACUUMED = ["listings", "directory", "connection_requests", "activity_logs"]


@dataclass
class Run:
    """The plan of one execution, with its counts."""

    plan: dict[str, Any]

    @property
    def nodes(self) -> list[dict[str, Any]]:
        found, waiting = [], [self.plan]
        while waiting:
            node = waiting.pop()
            found.append(node)
            waiting += node.get("Plans", [])
        return found

    @property
    def sequential(self) -> set[str]:
        """Return the tables that were read completely."""
        read = [node for node in self.nodes if node["Node Type"] == "Seq Scan" and node["Actual Loops"]]
        return {node["Relation Name"] for node in read} & TABLES

    @property
    def buffers(self) -> int:
        return self.plan["Shared Hit Blocks"] + self.plan["Shared Read Blocks"]

    @property
    def rows_read(self) -> int:
        """Return the number of rows that were read from tables, also rows that a filter removed."""
        return sum(
            (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
            for node in self.nodes
            if "Relation Name" in node
        )


class LargeDatabase:
    """A large database in which statements run as in the server."""

    def __init__(self, io_loop: IOLoop, url: str) -> None:
        self.io_loop, self.url = io_loop, url
        self.names: dict[str, str] = {}  # of prepared statements
        io_loop.run_sync(self.fill)

    async def fill(self) -> None:
        settings = {**SERVER_SETTINGS, "statement_timeout": "0"}
        # Foreign keys of 700,000 rows are not checked, which takes a fifth of the time. Plans do not depend on it.
        loading = await asyncpg.connect(self.url, server_settings={**settings, "session_replication_role": "replica"})
        await add_people(loading, PEOPLE, "no password", lambda _: None)
        async with loading.transaction(), indexes_built_last(loading, "connection_requests", "activity_logs"):
            await loading.execute(ADD_REQUESTS)
            await loading.execute(ADD_CONTACTS, CONTACTS)
            await loading.execute(ADD_LOGS)
        await loading.close()
        self.conn = await asyncpg.connect(self.url, server_settings=settings)
        self.salon = await self.conn.fetchval(f"select {PERSON.format(n=4)}")
        await self.conn.execute("vacuum (analyze) connection_requests, activity_logs")
        for _ in range(100):
            if await self.conn.fetchval(ARE_VISIBLE, VACUUMED):
                break
            await self.conn.execute(f"vacuum {', '.join(VACUUMED)}")
        self.pages = dict(await self.conn.fetch("select relname, relpages from pg_class where relkind in ('r', 'i')"))

    def fetchrow(self, sql: str) -> Any:
        return self.io_loop.run_sync(lambda: self.conn.fetchrow(sql))

    def run(self, statement: str, *args: Any, generic: bool = False) -> Run:
        """Explain a statement: with the generic plan for all parameters, or with a plan for these arguments."""

        async def explain() -> str:
            if statement not in self.names:
                self.names[statement] = f"statement_{len(self.names)}"
                await self.conn.execute(f"prepare {self.names[statement]} as {statement}")
            await self.conn.execute(f"set plan_cache_mode = force_{'generic' if generic else 'custom'}_plan")
            given = f"({', '.join(literal(arg) for arg in args)})" if args else ""
            return await self.conn.fetchval(
                f"explain (analyze, buffers, timing off, format json) execute {self.names[statement]}{given}"
            )

        return Run(json.loads(self.io_loop.run_sync(explain))[0]["Plan"])


def literal(value: Any) -> str:
    if isinstance(value, list):
        return f"array[{', '.join(literal(part) for part in value)}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value) if isinstance(value, int | float) else "'" + str(value).replace("'", "''") + "'"
