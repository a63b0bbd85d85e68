"""Measure what statements cost PostgreSQL over 200,000 messages, what partitions would change, and the size of rows of
growing tables. `.venv/bin/python -m bench.scale.database`; a minute. Other numbers of partitions: `--partitions 64`."""

import argparse
import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import uvloop

from bench.scale.helpers import TEXT, report, show
from bench.setup.machine import Meter
from db.migrate import migrate
from db.packaged.servers import EmbeddedServers
from db.pool import set_codecs
from db.queries.conversations import FETCH_CHANGES, LIST_CHANGED_CONVERSATIONS, LIST_CHANGED_READ_MARKS, SEND_MESSAGE
from db.queries.sessions import LIST_ENDED, LOAD_CALLER
from db.queries.unread import COUNT_UNREAD, MARK_READ
from handlers.chat.messages import FIND_MESSAGE
from realtime.catch_up import LIST_NOTICES
from tests.helpers.scratch import scratch_folder

CONVERSATIONS = 2_000
MESSAGES = 100  # in each
TIMES, LEAST_SECONDS = 200, 0.15  # a round and statement
ON_MESSAGES = ("sending", "marking", "joining", "catching", "finding", "counting")

FILL = [
    f"""
    insert into users (name, email, password_hash, role, email_verified_at, terms_accepted_at)
    select 'User ' || n, 'user' || n || '@example.com', 'none', case when n % 2 = 0 then 'SALON' else 'INFLUENCER' end,
        now(), now()
    from generate_series(1, {2 * CONVERSATIONS}) n
    """,
    "insert into sessions (user_id, expires_at) select id, now() + interval '1 day' from users",
    f"""
    insert into conversations (low_id, high_id, last_rev, last_seq, last_message, last_message_at, updated_at)
    select least(one.id, other.id), greatest(one.id, other.id), {MESSAGES}, {MESSAGES}, '{TEXT}', now(),
        now() - interval '1 hour'
    from (select id, row_number() over (order by id) from users where role = 'SALON') one
    join (select id, row_number() over (order by id) from users where role = 'INFLUENCER') other using (row_number)
    """,
    "insert into conversation_participants (conversation_id, user_id) select id, unnest(array[low_id, high_id]) "
    "from conversations",
    # Insert in turns over all conversations, as in real use: rows of one conversation are stored far apart.
    f"""
    insert into messages (conversation_id, sender_id, seq, rev, client_message_id, content)
    select c.id, case when n % 2 = 0 then low_id else high_id end, n, n, gen_random_uuid()::text, '{TEXT}'
    from generate_series(1, {MESSAGES}) n, conversations c order by n
    """,
    f"""
    insert into notifications
        (user_id, type, title, message, conversation_id, message_id, actor_id, metadata, updated_at)
    select c.low_id, 'NEW_MESSAGE', 'New message from User', '{TEXT}', c.id, m.id, c.high_id,
        jsonb_build_object('senderId', c.high_id, 'senderName', 'User', 'count', 1), now() - interval '1 hour'
    from conversations c join messages m on m.conversation_id = c.id and m.seq = {MESSAGES}
    """,
    """
    insert into email_outbox (recipient, template, sent_at)
    select email, 'reset', now() from users
    """,
    """
    insert into job_runs (job, scheduled_for, status, runner, lease_until, finished_at, counts)
    select 'data_sync', now() - n * interval '1 minute', 'SUCCEEDED', 'a1b2c3d4e5f6', now(), now(), '{"done": 120}'
    from generate_series(1, 4000) n
    """,
    "analyze",
]
GROWING = (
    "messages",
    "notifications",
    "conversations",
    "conversation_participants",
    "sessions",
    "email_outbox",
    "job_runs",
)

# Every unique key contains the conversation except the primary key, to which it is added after the id.
PARTITION = """
    create table parted (like messages including defaults including constraints) partition by hash (conversation_id);
    alter table parted add constraint parted_pkey primary key (id, conversation_id),
        add unique (conversation_id, seq), add unique (conversation_id, rev),
        add unique (conversation_id, sender_id, client_message_id);
    do $$ begin
        for n in 0..$N - 1 loop
            execute format('create table messages_%s partition of parted for values with (modulus $N, remainder %s)',
                n, n);
        end loop;
    end $$;
    drop table messages cascade;
    alter table parted rename to messages;
    alter table messages add constraint messages_conversation_id_fkey
        foreign key (conversation_id) references conversations on delete cascade,
        add constraint messages_sender_id_fkey foreign key (sender_id) references users;
"""

Statement = Callable[[asyncpg.Connection], Awaitable[Any]]


class Data:
    """Return arguments for the statements, each conversation in turn."""

    def __init__(self, rows: list[asyncpg.Record]) -> None:
        self.conversations = [row["id"] for row in rows]
        self.users = [row["low_id"] for row in rows]
        self.turns = itertools.cycle(rows)

    def statements(self) -> dict[str, Statement]:
        turns = self.turns

        def of(sql: str, *arguments: Callable[[Any], Any]) -> Statement:
            def ask(conn: asyncpg.Connection) -> Awaitable[Any]:
                row = next(turns)
                value: Awaitable[Any] = conn.fetch(sql, *(argument(row) for argument in arguments))
                return value

            return ask

        def conversation(row: Any) -> str:
            value: str = row["id"]
            return value

        def low(row: Any) -> str:
            value: str = row["low_id"]
            return value

        def fixed(value: Any) -> Callable[[Any], Any]:
            return lambda row: value

        return {
            "select 1": of("select 1"),
            "a commit of one small row": of("insert into smallest values (1)"),
            "sending a message": of(
                SEND_MESSAGE, conversation, low, fixed(None), fixed(TEXT), fixed("TEXT"), fixed(None), fixed(TEXT)
            ),
            "marking read": of(MARK_READ, conversation, lambda row: row["high_id"], fixed(2**40)),
            "joining": of(FETCH_CHANGES, conversation, low, fixed(2**62), fixed(2**62)),
            "catching up ten messages": of(FETCH_CHANGES, conversation, low, fixed(MESSAGES - 10), fixed(20_000)),
            "finding a message by its id alone": of(FIND_MESSAGE, lambda row: row["message_id"], low),
            "who has this session": of(LOAD_CALLER, lambda row: [row["session_id"]]),
            "counting what is unread": of(COUNT_UNREAD, lambda row: [low(row)]),
            "poll, 0.3 s: which sessions ended": of(LIST_ENDED, fixed(15.0)),
            "poll, 1.5 s: which of 2,000 conversations moved; none": of(
                LIST_CHANGED_CONVERSATIONS, fixed(0.0), fixed(self.conversations)
            ),
            "  when many have": of(LIST_CHANGED_CONVERSATIONS, fixed(60.0), fixed(self.conversations)),
            "poll, 1.5 s: which read marks there moved; none": of(
                LIST_CHANGED_READ_MARKS, fixed(0.0), fixed(self.conversations)
            ),
            "  when many have been": of(LIST_CHANGED_READ_MARKS, fixed(60.0), fixed(self.conversations)),
            "poll, 1.5 s: who of 2,000 users has news; nobody": of(LIST_NOTICES, fixed(0.0), fixed(self.users)),
            "  when many have news": of(LIST_NOTICES, fixed(60.0), fixed(self.users)),
        }


LIST_ROWS = f"""
    select c.id, c.low_id, c.high_id, m.id as message_id, s.id as session_id from conversations c
    join messages m on m.conversation_id = c.id and m.seq = {MESSAGES // 2} join sessions s on s.user_id = c.low_id
"""


async def prepare(url: str, name: str, partitions: int = 0) -> tuple[asyncpg.Connection, Data]:
    admin = await asyncpg.connect(url)
    await admin.execute(f"create database {name}")
    await admin.close()
    own = url.replace("/encer?", f"/{name}?")
    await asyncio.to_thread(migrate, own)
    conn = await asyncpg.connect(own)
    await set_codecs(conn)
    await conn.execute("create table smallest (n int)")
    if partitions:
        await conn.execute(PARTITION.replace("$N", str(partitions)))
    for statement in FILL:
        await conn.execute(statement)
    return conn, Data(await conn.fetch(LIST_ROWS))


async def measure(conn: asyncpg.Connection, statement: Statement) -> float:
    """Return µs of CPU per statement, over TIMES repetitions and as many more as fit into LEAST_SECONDS."""
    began, times = time.monotonic(), 0
    with Meter(conn.get_server_pid()) as meter:
        while times < TIMES or time.monotonic() - began < LEAST_SECONDS:
            await statement(conn)
            times += 1
    return meter.seconds / times * 1e6


async def run(url: str, rounds: int, partitions: int) -> None:
    plain, data = await prepare(url, "plain")
    parted, parted_data = await prepare(url, "parted", partitions)
    for table in GROWING:
        size = await plain.fetchval(f"select pg_total_relation_size('{table}')")
        count = await plain.fetchval(f"select count(*) from {table}")
        report(f"a row of {table}, with its indexes", [size / count], "bytes")
    costs: dict[str, list[float]] = defaultdict(list)
    parted_costs: dict[str, list[float]] = defaultdict(list)
    for conn, statements in ((plain, data.statements()), (parted, parted_data.statements())):
        for statement in statements.values():  # warm: plans, pages
            await measure(conn, statement)
    here, there = data.statements(), parted_data.statements()
    for number in range(rounds):
        for name in here:
            turns = [(costs, plain, here), (parted_costs, parted, there)]
            for noted, conn, statements in turns if number % 2 else turns[::-1]:
                noted[name].append(await measure(conn, statements[name]))
    for name, cost in costs.items():
        report(name, cost, "µs of CPU", costs["select 1"], "select 1")
        ratio = [with_them / without for with_them, without in zip(parted_costs[name], cost, strict=True)]
        if name.startswith(ON_MESSAGES):
            print(f"  over {partitions} partitions: {show(ratio)} × that")
    began = asyncio.get_running_loop().time()
    count = await plain.fetchval("select count(*) from messages")
    took = asyncio.get_running_loop().time() - began
    print(f"{'counting all messages':<62} {took / count * 1e9:.0f} ms a million")
    await plain.close()
    await parted.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--partitions", type=int, default=16)
    options = parser.parse_args()
    with scratch_folder("encer-bench-") as folder:
        servers = EmbeddedServers(Path(folder))
        urls = servers.start()
        try:
            uvloop.run(run(urls.database_url, options.rounds, options.partitions))
        finally:
            servers.stop()


if __name__ == "__main__":
    main()
