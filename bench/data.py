"""The data of `make bench`: people, connections, conversations, messages and notifications, and their access tokens.

People are those of db/seed/scale.py. Of the first pairs, influencer i is connected with the PARTNERS salons from i on,
and has a conversation of MESSAGES messages with salon i; the first pair has one long conversation. In the pairs after
these, which open sockets, influencer i has conversations with the SOCKET_PARTNERS salons from i on.
"""

from dataclasses import dataclass
from typing import Any

import asyncpg

from db.seed.scale import SALON_EVERY, add_people
from services.security.tokens import Tokens

TEXT = "message " * 12  # about a hundred characters, as real messages
PARTNERS = 21
SOCKET_PARTNERS = 5
SOCKET_MESSAGES = 3  # in each conversation
RICH = 1_000  # pairs whose conversation and notifications fill a page
MESSAGES = 51
NOTIFICATIONS = 51
TOKEN_SECONDS = 24 * 3600

INFLUENCER = f"md5('scale ' || ({SALON_EVERY} * {{i}} + 1))::uuid"
SALON = f"md5('scale ' || ({SALON_EVERY} * ({{i}} + 1)))::uuid"

# Numbers of a pair: $1 pairs of the HTTP cases, $2 pairs of the socket cases. `j` 0 is the pair's own conversation.
LINKS = f"""
    select {INFLUENCER.format(i="i")} as one, {SALON.format(i="(i + j) % $1::int")} as other, i, j
    from generate_series(0, $1::int - 1) i, generate_series(0, {PARTNERS - 1}) j
    union all
    select {INFLUENCER.format(i="($1 + i)")}, {SALON.format(i="($1 + (i + j) % $2::int)")}, $1 + i, j
    from generate_series(0, $2::int - 1) i, generate_series(0, {SOCKET_PARTNERS - 1}) j
"""

CONNECT = f"""
    insert into connection_requests (sender_id, receiver_id, status, created_at, updated_at)
    select one, other, 'ACCEPTED', now() - interval '2 days', now() - interval '1 day' from ({LINKS}) l
"""

OPEN_CONVERSATIONS = f"""
    with pair as (
        select one, other, now() - interval '1 hour' - i * interval '1 second' - j * interval '1 minute' as at,
            case when i >= $1 then {SOCKET_MESSAGES} when j > 0 or i >= {RICH} then 1 when i = 0 then $3::int
                else {MESSAGES} end as length
        from ({LINKS}) l
    )
    insert into conversations (low_id, high_id, last_rev, last_seq, last_message, last_message_at, updated_at)
    select least(one, other), greatest(one, other), length, length, '{TEXT}', at, at from pair
"""

ADD_PARTICIPANTS = """
    insert into conversation_participants (conversation_id, user_id, last_read_seq, last_read_at)
    select id, unnest(array[low_id, high_id]), last_seq, now() - interval '30 minutes' from conversations
"""

# Insert in turns over all conversations, as in real use: rows of one conversation are stored far apart.
ADD_MESSAGES = f"""
    insert into messages (conversation_id, sender_id, seq, rev, client_message_id, content, created_at, updated_at)
    select c.id, case when n % 2 = 0 then low_id else high_id end, n, n, gen_random_uuid()::text, '{TEXT}',
        c.last_message_at - interval '1 day', c.last_message_at - interval '1 day'
    from conversations c, generate_series(1, c.last_seq) n order by n
"""

ADD_NOTIFICATIONS = f"""
    insert into notifications (user_id, type, title, message, actor_id, metadata, is_read, updated_at)
    select {INFLUENCER.format(i="i")}, 'PROFILE_VIEW', 'New profile view', 'Somebody viewed your profile',
        {SALON.format(i="(i + n) % $1")}, jsonb_build_object('viewerId', {SALON.format(i="(i + n) % $1")}), n > 5,
        now() - n * interval '1 hour'
    from generate_series(0, least($1::int, {RICH}) - 1) i, generate_series(1, {NOTIFICATIONS}) n
"""

ADD_SESSIONS = """
    insert into sessions (user_id, expires_at)
    select unnest($1::uuid[]), now() + interval '1 day' returning id::text, user_id::text
"""

LIST_PAIRS = f"""
    select {INFLUENCER.format(i="i")}::text as influencer, {SALON.format(i="i")}::text as salon,
        (select id::text from conversations c
            where c.low_id = least({INFLUENCER.format(i="i")}, {SALON.format(i="i")})
                and c.high_id = greatest({INFLUENCER.format(i="i")}, {SALON.format(i="i")})) as conversation
    from generate_series(0, $1::int - 1) i order by i
"""

LIST_SOCKET_PEOPLE = f"""
    select u.id::text, u.role, (
        select array_agg(p.conversation_id::text) from conversation_participants p where p.user_id = u.id
    ) as conversations
    from generate_series($1::int, $1::int + $2::int - 1) i
    join users u on u.id in ({INFLUENCER.format(i="i")}, {SALON.format(i="i")})
    order by i, u.role
"""


@dataclass
class Person:
    id: str
    token: str
    conversations: tuple[str, ...] = ()  # of people who open sockets


@dataclass
class Pair:
    """An influencer and a salon with their conversation."""

    influencer: Person
    salon: Person
    conversation_id: str


async def fill(conn: Any, people: int, pairs: int, socket_pairs: int, long_conversation: int) -> None:
    await add_people(conn, people, "no password", lambda _: None)
    await conn.execute(CONNECT, pairs, socket_pairs)
    await conn.execute(OPEN_CONVERSATIONS, pairs, socket_pairs, long_conversation)
    await conn.execute(ADD_PARTICIPANTS)
    await conn.execute(ADD_MESSAGES)
    await conn.execute(ADD_NOTIFICATIONS, pairs)
    await conn.execute("vacuum (analyze)")
    await conn.execute("checkpoint")


async def open_sessions(conn: asyncpg.Connection, tokens: Tokens, roles: dict[str, str]) -> dict[str, str]:
    """Open a session for each user; return their access tokens."""
    sessions = await conn.fetch(ADD_SESSIONS, list(roles))
    return {
        row["user_id"]: tokens.access(row["user_id"], roles[row["user_id"]], row["id"], TOKEN_SECONDS)
        for row in sessions
    }


async def sign_in(conn: asyncpg.Connection, tokens: Tokens, pairs: int) -> list[Pair]:
    """Open a session for each person of the pairs."""
    rows = await conn.fetch(LIST_PAIRS, pairs)
    roles = {row["influencer"]: "INFLUENCER" for row in rows} | {row["salon"]: "SALON" for row in rows}
    token = await open_sessions(conn, tokens, roles)
    return [
        Pair(Person(one, token[one]), Person(other, token[other]), conversation) for one, other, conversation in rows
    ]


async def list_socket_people(conn: asyncpg.Connection, tokens: Tokens, first: int, pairs: int) -> list[Person]:
    """Open a session for each person who opens sockets: influencer, salon, influencer, …"""
    rows = await conn.fetch(LIST_SOCKET_PEOPLE, first, pairs)
    token = await open_sessions(conn, tokens, {row["id"]: row["role"] for row in rows})
    return [Person(row["id"], token[row["id"]], tuple(row["conversations"])) for row in rows]
