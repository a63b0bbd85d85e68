"""The actions of a drill's client. Each is repeated until it is acknowledged; it must take effect only once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tornado.httpclient import HTTPClientError

from db.schemas.shapes import DELETED_MESSAGE
from tests.drills.clients import BACK_OFF_SECONDS, FAILURES, Client

# How many of a hundred actions are of this kind; the others send a message.
EDITS, DELETIONS, READINGS = 6, 3, 6
BY_SOCKET = 0.6  # of the actions that both REST and sockets offer
DEFECT_STATUSES = (400, 403, 404, 409)


async def act(client: Client, client_message_id: str, content: str) -> None:
    """Perform a random action; send a message if that action is impossible."""
    turn = client.rng.randrange(100)
    if turn < EDITS and client.unedited:
        await edit(client)
    elif EDITS <= turn < EDITS + DELETIONS and client.mine:
        await delete(client)
    elif EDITS + DELETIONS <= turn < EDITS + DELETIONS + READINGS and client.view:
        await read(client)
    else:
        await send(client, client_message_id, content)


async def repeat_until_acknowledged(client: Client, attempt: Callable[[], Awaitable[Any]]) -> Any:
    record = client.record
    while True:
        try:
            return await attempt()
        except FAILURES as error:
            name = (str(error) or type(error).__name__).partition(";")[0]
            if isinstance(error, HTTPClientError) and error.code in DEFECT_STATUSES:
                record.violations.append(f"{client.where}: {name}")
                return None
            record.refusals[name] = record.refusals.get(name, 0) + 1
            await asyncio.sleep(client.rng.uniform(*BACK_OFF_SECONDS))


async def send(client: Client, client_message_id: str, content: str) -> None:
    """Send by REST or by the socket, always with the same clientMessageId."""
    record, here = client.record, client.member.conversation_id
    record.sent_at[client_message_id] = record.now()
    data = {"content": content, "clientMessageId": client_message_id}

    async def attempt() -> dict[str, Any]:
        if client.live.is_set() and client.rng.random() < BY_SOCKET:
            return (await client.command("send_message", {**data, "conversationId": here}))["message"]
        return (await client.call("POST", f"/chat/conversations/{here}/messages", data))["data"]

    message = await repeat_until_acknowledged(client, attempt)
    if message is None:
        return
    if message["content"] != content or message["clientMessageId"] != client_message_id:
        record.violations.append(f"{client_message_id} was acknowledged as another message")
    record.acknowledged[client_message_id] = content
    client.mine[client_message_id] = message["id"]
    client.unedited.append(client_message_id)


async def change(client: Client, method: str, client_message_id: str, content: str, body: Any = None) -> None:
    """Each attempt can make the change, acknowledged or not, and takes a value of the conversation's counter."""
    record, here = client.record, client.member.conversation_id

    async def attempt() -> bool:
        record.changes_tried[here] += 1
        await client.call(method, f"/chat/messages/{client.mine[client_message_id]}", body)
        return True

    if await repeat_until_acknowledged(client, attempt):
        record.changes_acknowledged[here] += 1
        record.acknowledged[client_message_id] = content


async def edit(client: Client) -> None:
    """Edit each message at most once, because a late attempt would overwrite a second edit."""
    client_message_id = client.unedited.pop(client.rng.randrange(len(client.unedited)))
    content = f"edited ✏️ {client_message_id}"
    await change(client, "PATCH", client_message_id, content, {"content": content})


async def delete(client: Client) -> None:
    client_message_id = client.rng.choice(list(client.mine))
    if client_message_id in client.unedited:
        client.unedited.remove(client_message_id)
    await change(client, "DELETE", client_message_id, DELETED_MESSAGE)
    del client.mine[client_message_id]


async def read(client: Client) -> None:
    """Mark everything that this client has received as read."""
    seq = max(client.view)
    message_id = client.view[seq]["id"]

    async def attempt() -> bool:
        if client.live.is_set() and client.rng.random() < BY_SOCKET:
            await client.command("mark_read", {"conversationId": client.member.conversation_id, "seq": seq})
        else:
            await client.call("PATCH", f"/chat/messages/{message_id}/read")
        return True

    if await repeat_until_acknowledged(client, attempt):
        client.has_read = max(client.has_read, seq)
        client.record.readings += 1
