"""Unread messages and their notification: messages, read marks and badges agree in every transaction.

Every change of what is unread in a conversation holds that conversation's lock (`LOCK_CONVERSATION`, or the update that
numbers a message). An unread NEW_MESSAGE notification shows the newest unread message and counts all of them.
"""

from typing import NamedTuple

from db.fragments import is_unread, unread_notifications
from db.pool import Database, Transaction
from db.queries.conversations import ConversationNotFound
from db.queries.notifications import NoticeId, NotificationChange
from db.schemas.previews import preview
from db.schemas.shapes import DELETED_MESSAGE, Notification

COUNT_UNREAD = f"""
    select u.id as key, {unread_notifications("u.id")} as notifications,
        (select count(*) from conversation_participants p join messages m on m.conversation_id = p.conversation_id
            where p.user_id = u.id and {is_unread("m", "u.id", "p.last_read_seq")}) as messages
    from unnest($1::uuid[]) u(id)
"""


async def count_unread(db: Database, user_id: str) -> tuple[int, int]:
    """Return how many unread notifications and unread messages a user has."""
    row = await db.shared.fetchrow(COUNT_UNREAD, user_id)
    return (row["notifications"], row["messages"]) if row else (0, 0)


# -- reading -----------------------------------------------------------------------------------------------------------


class ReadMark(NamedTuple):
    seq: int
    read_at: str
    unread_count: int
    moved: bool  # False: it was there before
    read: NoticeId | None = None  # the notification, when all messages that it counts are read
    updated: NotificationChange | None = None  # the notification, when it counts fewer messages now


FIND_MARK = """
    select p.last_read_seq as seq, iso(coalesce(p.last_read_at, now())) as read_at,
        count_unread($1, $2) as unread_count, least($3::bigint, c.last_seq) > p.last_read_seq as behind
    from conversation_participants p join conversations c on c.id = p.conversation_id
    where p.conversation_id = $1 and p.user_id = $2
"""

LOCK_CONVERSATION = "select id from conversations where id = $1 for no key update"

# The notification keeps its place in the list, which is sorted by `updated_at`.
MARK_READ = f"""
    with mark as (
        update conversation_participants p
        set last_read_seq = least($3::bigint, c.last_seq), last_read_at = clock_timestamp()
        from conversations c
        where p.conversation_id = $1 and p.user_id = $2 and c.id = p.conversation_id
            and least($3::bigint, c.last_seq) > p.last_read_seq
        returning p.last_read_seq as seq, iso(p.last_read_at) as read_at
    ), unread as (
        select mark.seq, mark.read_at, (
            select count(*) from messages m where m.conversation_id = $1 and {is_unread("m", "$2", "mark.seq")}
        ) as count
        from mark
    ), notification as (
        update notifications n set is_read = u.count = 0,
            metadata = case when u.count = 0 then n.metadata else n.metadata || jsonb_build_object('count', u.count) end
        from unread u
        where n.user_id = $2 and n.conversation_id = $1 and n.type = 'NEW_MESSAGE' and not n.is_read
            and (u.count = 0 or (n.metadata->>'count')::bigint <> u.count)
        returning n.*
    )
    select u.seq, u.read_at, u.count as unread_count, n.id as notification_id, n.is_read,
        case when n.id is not null then {Notification.sql("n")} end as notification,
        {unread_notifications("$2")}
            - (select count(*) from notification where is_read) as unread_notifications
    from unread u left join notification n on true
"""


async def mark_read(db: Database, conversation_id: str, user_id: str, seq: int) -> ReadMark:
    """Mark all messages up to and including `seq` as read by this user; a mark only moves forward.

    Raises ConversationNotFound."""
    found = await db.fetchrow(FIND_MARK, conversation_id, user_id, seq)
    if found is None:
        raise ConversationNotFound
    if found["behind"]:
        async with db.transaction() as tx:
            await tx.execute(LOCK_CONVERSATION, conversation_id)
            marked = await tx.fetchrow(MARK_READ, conversation_id, user_id, seq)
        if marked is not None:
            read = updated = None
            if marked["is_read"]:
                read = NoticeId(user_id, marked["notification_id"], marked["unread_notifications"])
            elif marked["notification"] is not None:
                updated = NotificationChange(user_id, marked["notification"], marked["unread_notifications"])
            return ReadMark(marked["seq"], marked["read_at"], marked["unread_count"], True, read, updated)
    return ReadMark(found["seq"], found["read_at"], found["unread_count"], False)


# -- editing and deleting ----------------------------------------------------------------------------------------------

UNREAD_COUNT_OF_READER = unread_notifications("n.user_id")

# Read notifications too: the reader's list shows their text.
UPDATE_TEXT = f"""
    with n as (
        update notifications n set message = $2 where n.message_id = $1 and n.message <> $2 returning n.*
    )
    select n.user_id, {Notification.sql("n")} as notification, {UNREAD_COUNT_OF_READER} as unread_count from n
"""


async def update_text(tx: Transaction, message_id: str, text: str) -> list[NotificationChange]:
    """Show the new text of a message in its notifications."""
    return [NotificationChange(*row) for row in await tx.fetch(UPDATE_TEXT, message_id, text)]


NEWEST_UNREAD = f"""
    select m.id, m.content, m.file_name, count(*) over () as count
    from conversation_participants p join messages m on m.conversation_id = p.conversation_id
    where p.conversation_id = $1 and p.user_id = $2 and {is_unread("m", "$2", "p.last_read_seq")}
    order by m.seq desc limit 1
"""

RECOUNT = f"""
    with n as (
        update notifications n set message_id = $3, message = $4,
            metadata = n.metadata || jsonb_build_object('count', $5::bigint)
        where n.conversation_id = $1 and n.user_id = $2 and n.type = 'NEW_MESSAGE' and not n.is_read
            and (n.message_id, n.message, n.metadata->'count') is distinct from ($3, $4, to_jsonb($5::bigint))
        returning n.*
    )
    select n.user_id, {Notification.sql("n")} as notification, {UNREAD_COUNT_OF_READER} as unread_count from n
"""

DELETE_NOTICE = f"""
    with n as (
        delete from notifications n
        where n.conversation_id = $1 and n.user_id = $2 and n.type = 'NEW_MESSAGE' and not n.is_read
        returning n.*
    )
    select n.user_id, n.id as notification_id, {UNREAD_COUNT_OF_READER} - 1 as unread_count from n
"""


class Followed(NamedTuple):
    updated: list[NotificationChange]
    deleted: list[NoticeId]  # at most one


async def follow_deletion(tx: Transaction, conversation_id: str, reader_id: str, message_id: str) -> Followed:
    """Bring the reader's notifications in line with a message that has just been deleted."""
    newest = await tx.fetchrow(NEWEST_UNREAD, conversation_id, reader_id)
    updated, deleted = [], []
    if newest is None:
        deleted = [NoticeId(*row) for row in await tx.fetch(DELETE_NOTICE, conversation_id, reader_id)]
    else:
        text = preview(newest["content"]) or newest["file_name"]
        rows = await tx.fetch(RECOUNT, conversation_id, reader_id, newest["id"], text, newest["count"])
        updated = [NotificationChange(*row) for row in rows]
    return Followed([*updated, *await update_text(tx, message_id, DELETED_MESSAGE)], deleted)
