"""Expected failures: REST and sockets render the same one, and violated constraints become failures by name."""

from typing import Any

import pytest

from db.errors import CONSTRAINTS
from db.pool import Database
from db.queries.conversations import close_conversations
from tests.helpers.clients import Api
from tests.helpers.factories import People

MESSAGE = {"content": "hello"}
UNKNOWN_FILE = {"fileUrl": "https://example.com/x.png", "messageType": "IMAGE"}

# Named unique constraints are unique indexes, so this finds both.
FIND_INDEXES = "select relname::text from pg_class where relkind = 'i' and relname = any($1)"


@pytest.mark.parametrize(
    ("message", "code"),
    [(MESSAGE, "NOT_FOUND"), (MESSAGE, "FORBIDDEN"), (UNKNOWN_FILE, "VALIDATION_ERROR"), ({}, "VALIDATION_ERROR")],
    ids=["of outsiders", "read-only", "unknown file", "invalid"],
)
async def test_rest_and_sockets_render_the_same_error(
    api: Api, people: People, db: Database, message: dict[str, Any], code: str
):
    salon, hanako, outsider = await people.salon(), await people.influencer(), await people.salon()
    conversation_id = await people.connect(salon, hanako)
    if code == "FORBIDDEN":
        async with db.transaction() as tx:
            await close_conversations(tx, salon.id, hanako.id)
    caller = outsider if code == "NOT_FOUND" else salon
    answer = await api.post(f"/chat/conversations/{conversation_id}/messages", message, caller)
    frame = await (await api.socket(caller)).ask("send_message", {"conversationId": conversation_id, **message})
    assert (frame["event"], answer.body["code"]) == ("error", code)
    rendered = {name: value for name, value in answer.body.items() if name != "requestId"}  # frames have their own id
    assert frame["data"] == rendered


async def test_the_table_of_constraints_names_existing_ones(db: Database):
    found = {row[0] for row in await db.fetch(FIND_INDEXES, list(CONSTRAINTS))}
    assert found == set(CONSTRAINTS)
