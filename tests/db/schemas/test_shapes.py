"""Shapes build the same JSON from a row for every alias of the row: no inner alias hides it."""

import re
import string
from collections.abc import Iterator
from typing import Any

import pytest

from db.pool import Database
from db.queries.conversations import NewMessage, send_message
from db.schemas import admin as shapes_admin
from db.schemas import discovery as shapes_discovery
from db.schemas import export as shapes_export
from db.schemas import jobs as shapes_jobs
from db.schemas import profiles as shapes_profiles
from db.schemas import shapes
from db.schemas import social as shapes_social
from db.schemas.shape import Shape, field_sql
from tests.helpers.factories import People

MODULES = (shapes, shapes_admin, shapes_discovery, shapes_export, shapes_jobs, shapes_profiles, shapes_social)
NEUTRAL = "outer_row"
LETTERS = string.ascii_lowercase


def subclasses(shape: type[Shape]) -> Iterator[type[Shape]]:
    for subclass in shape.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


SHAPES = sorted(
    {s for s in subclasses(Shape) if s.__module__ in {m.__name__ for m in MODULES}}, key=lambda s: s.__name__
)
# The table of each shape that reads further tables.
TABLES = {
    "AdminConnection": "connection_requests", "AdminInfluencer": "influencers", "AdminSalon": "salons",
    "AdminUser": "users", "CardUser": "users", "ContactConversation": "conversations", "Conversation": "conversations",
    "DiscoveredInfluencer": "influencers", "ExportedAccount": "users", "ExportedConnection": "connection_requests",
    "ExportedConversation": "conversations", "FullUser": "users", "Influencer": "influencers",
    "Job": "(select 'data_sync' as name, '' as schedule, '' as timezone, true as enabled, 'epoch'::timestamptz as"
    " next_run_at)",
    "ListedConversation": "conversations", "Message": "messages", "OwnAccountWithPosts": "social_media_accounts",
    "OwnInfluencer": "influencers", "Participant": "conversation_participants", "Profile": "users",
    "ProfileStats": "users", "RequestUser": "users", "Salon": "salons", "SeenInfluencer": "influencers",
    "SeenProfile": "users", "SeenSalon": "salons", "SenderUser": "users", "SignedInUser": "users",
}  # fmt: skip


def given(shape: type[Shape]) -> dict[str, str]:
    """Return null for the fields that only a query can provide: shapes without their own SQL."""
    return {
        name: "null"
        for name, field in shape.model_fields.items()
        if field_sql(field) == "{t}.{column}"
        and isinstance(field.annotation, type)
        and issubclass(field.annotation, Shape)
    }


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_every_inner_alias_is_derived_from_the_outer_one(shape: type[Shape]):
    for letter in LETTERS:
        sql = shape.sql(letter, viewer="$1", **given(shape))
        rows = set(re.findall(r"\b(\w+)\.\w", sql)) | set(re.findall(r"\b(?:from|join) \w+ (\w+)", sql))
        assert all(row == letter or row.startswith(f"{letter}__") for row in rows), rows
        assert not re.search(
            r"\b(from|join) \w+( where| on|\)|$)", sql
        )  # a table without an alias has its name as alias
        assert ("(select" in sql) == (shape.__name__ in TABLES)


ADD_ROWS = """
    with account as (
        insert into social_media_accounts (influencer_id, platform, username)
        select id, 'INSTAGRAM', 'hanako' from influencers returning id
    ), post as (
        insert into social_media_posts (account_id, platform_post_id, media_type) select id, '1', 'IMAGE' from account
    )
    insert into job_runs (job, scheduled_for, status, runner, lease_until, finished_at)
    values ('data_sync', now(), 'SUCCEEDED', 'x', now(), now())
"""


async def build(db: Database, shape: type[Shape], alias: str, viewer: str) -> list[Any]:
    built = shape.sql(alias, viewer="$1::uuid", **given(shape))
    sql = f"select ({built})::text from {TABLES[shape.__name__]} {alias} where $1::uuid is not null order by 1"
    return [row[0] for row in await db.fetch(sql, viewer)]


async def test_the_outer_alias_changes_nothing(people: People, db: Database):
    hanako, sakura = await people.influencer(), await people.salon()
    conversation_id = await people.connect(sakura, hanako)
    await send_message(db, conversation_id, sakura.id, NewMessage(content="hello"))
    await db.execute(ADD_ROWS)
    for shape in SHAPES:
        if shape.__name__ not in TABLES:
            continue
        expected = await build(db, shape, NEUTRAL, hanako.id)
        assert expected
        for letter in LETTERS:
            assert await build(db, shape, letter, hanako.id) == expected, (shape.__name__, letter)
