"""Deletion of accounts: what is deleted, what stays for other users, and what the caller must do after the commit."""

from typing import NamedTuple

from db.fragments import other_participant, unread_after_withdrawal, withdraw_notices
from db.pool import Transaction
from db.queries.conversations import close_conversations
from db.queries.notifications import NoticeId
from db.queries.sessions import end_sessions
from db.queries.social.tiktok_tokens import queue_revocations
from db.schemas.shapes import DELETED_USER


class DeletedUser(NamedTuple):
    """The work after the commit: announce closed conversations and deleted notices, delete files, revoke tokens."""

    name: str
    email: str
    conversation_ids: list[str]
    notices: list[NoticeId]
    files: list[str]
    revocations: list[str]  # for services.tiktok.revocations.revoke_now


# Two connected users who are deleted at the same time would deadlock on each other's rows. Deletions are rare, so they
# run one after the other.
TAKE_TURN = "select pg_advisory_xact_lock(hashtext('delete_user'))"

# Runs before the account is locked: transactions that compare codes lock in the same order.
DELETE_ATTEMPTS = "delete from otp_attempts where email = (select lower(email) from users where id = $1)"

# `for update`, so that no row that refers to the account can be added before the deletion commits.
LOCK_ACCOUNT = "select name, email from users where id = $1 and status <> 'DELETED' for update"

# The receivers of open requests have notifications of them; these are deleted too.
WITHDRAW_NOTICES = f"""
    with requests as (
        select id, receiver_id, status from connection_requests where sender_id = $1
    ), withdrawn as ({withdraw_notices()})
    select n.user_id, n.id as notification_id, {unread_after_withdrawal("n.user_id")} as unread_count from withdrawn n
"""

# Notifications of other users about this user stay, without the name.
ANONYMISE_NOTICES = f"""
    update notifications set
        title = case when type in ('NEW_MESSAGE', 'MESSAGE_REPLY') then 'New message from {DELETED_USER}'
            else title end,
        message = case when type in ('NEW_MESSAGE', 'MESSAGE_REPLY') then message
            else 'This was about an account that has been deleted' end,
        metadata = case when metadata ? 'senderName'
            then metadata || jsonb_build_object('senderName', '{DELETED_USER}') else metadata end
    where actor_id = $1 and user_id <> $1
"""

# Profiles of this user that were fetched from Instagram or TikTok.
DELETE_SCRAPES = """
    delete from scrape_runs r using social_media_accounts a join influencers i on i.id = a.influencer_id
    where i.user_id = $1 and r.platform = a.platform and r.username = lower(a.username) and r.state <> 'RUNNING'
"""

DELETE_TRACES = """
    with notification as (delete from notifications where user_id = $1),
        code as (delete from otps where user_id = $1),
        sign_up as (delete from sign_ups where user_id = $1),
        network as (delete from known_networks where user_id = $1),
        view as (delete from profile_views where $1 in (viewed_id, viewer_id)),
        mail as (delete from email_outbox where lower(recipient) = lower($2)),
        state as (delete from oauth_states where user_id = $1),
        cost as (update scrape_runs set requested_by = null where requested_by = $1)
    delete from connection_requests where $1 in (sender_id, receiver_id)
"""

# Conversations whose other user is deleted too: no reader is left.
DELETE_CONVERSATIONS = f"""
    with gone as (
        select c.id from conversation_participants p join conversations c on c.id = p.conversation_id
        join users o on o.id = {other_participant("c", "$1")}
        where p.user_id = $1 and o.status = 'DELETED'
    ), file as (
        delete from attachments a using gone where a.conversation_id = gone.id returning a.url
    ), conversation as (
        delete from conversations c using gone where c.id = gone.id
    )
    select url from file
"""

# Files that were uploaded but not sent.
DELETE_UNSENT = """
    delete from attachments a
    where a.uploader_id = $1
        and not exists (select from messages m where m.file_url = a.url and m.conversation_id = a.conversation_id)
    returning a.url
"""

DELETE_PROFILES = """
    with influencer as (delete from influencers where user_id = $1 returning profile_pic),
        salon as (delete from salons where user_id = $1 returning profile_pic)
    select profile_pic as url from (select * from influencer union all select * from salon) p
    where profile_pic is not null
"""

CLEAR_ACCOUNT = f"""
    with session as (update sessions set ip_address = null, user_agent = null where user_id = $1)
    update users set name = '{DELETED_USER}', email = null, password_hash = null, status = 'DELETED',
        email_verified_at = null, terms_accepted_at = null, onboarded_at = null, last_seen_at = null, updated_at = now()
    where id = $1
"""


async def delete_user(tx: Transaction, user_id: str) -> DeletedUser | None:
    """Delete all personal data of an account; its row stays, without a name, for conversations of other users.

    Return None if there is no such account. The caller does the work in `DeletedUser` after the commit."""
    await tx.execute(TAKE_TURN)
    await tx.execute(DELETE_ATTEMPTS, user_id)
    account = await tx.fetchrow(LOCK_ACCOUNT, user_id)
    if account is None:
        return None
    notices = [NoticeId(*row) for row in await tx.fetch(WITHDRAW_NOTICES, user_id)]
    await tx.execute(ANONYMISE_NOTICES, user_id)
    await tx.execute(DELETE_SCRAPES, user_id)
    await tx.execute(DELETE_TRACES, user_id, account["email"])
    conversation_ids = await close_conversations(tx, user_id)
    revocations = await queue_revocations(tx, user_id)
    files = [
        row["url"]
        for statement in (DELETE_CONVERSATIONS, DELETE_UNSENT, DELETE_PROFILES)
        for row in await tx.fetch(statement, user_id)
    ]
    await end_sessions(tx, user_id, "DELETED")
    await tx.execute(CLEAR_ACCOUNT, user_id)
    return DeletedUser(account["name"], account["email"], conversation_ids, notices, files, revocations)
