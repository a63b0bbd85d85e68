"""Connect, sync, verify and disconnect social accounts. A profile is passed as the JSON of
`services.social.profiles.SocialProfile`, which PostgreSQL decodes."""

from datetime import datetime
from typing import NamedTuple

import orjson

from db.errors import HandleTaken
from db.pool import Queries, Transaction
from db.queries.notifications import NotificationChange, notify
from db.queries.social.tiktok_tokens import SealedTokens
from db.schemas.social import OwnAccount

SYNC_DAYS = 7  # data younger than this is not fetched again
KEPT_POSTS = 100  # per account; older ones are deleted
BACK_OFF_HOURS = 1  # after the first failure; doubled with each further one, up to SYNC_DAYS
NOTIFIED_CLAIMANTS = 100  # users notified that another user has verified their handle; bounds the transaction


class Owner(NamedTuple):
    influencer_id: str
    account_id: str | None  # of this platform, if there is one
    username: str | None

    def replaces(self, username: str) -> bool:
        """Return whether connecting this handle replaces another one."""
        return self.username is not None and self.username.lower() != username.lower()


class Connected(NamedTuple):
    account: orjson.Fragment  # OwnAccount
    verification_code: str | None


# Serialises the changes of one influencer's accounts.
LOCK_OWNER = """
    select i.id as influencer_id, a.id as account_id, a.username
    from influencers i join users u on u.id = i.user_id
        left join social_media_accounts a on a.influencer_id = i.id and a.platform = $2
    where u.id = $1 and u.status = 'ACTIVE' for update of i
"""

# Serialises all transactions that connect or verify a handle. Taken before all row locks.
LOCK_HANDLE = "select pg_advisory_xact_lock(hashtextextended('handle ' || $1 || ' ' || lower($2), 0))"

FIND_PROVEN = """
    select exists (
        select from social_media_accounts
        where platform = $1 and lower(username) = lower($2) and is_verified and influencer_id <> $3
    )
"""

GIVEN = """
    given as (
        select * from jsonb_to_record($1::jsonb) as p(platform text, username text, platform_user_id text,
            display_name text, profile_picture text, profile_url text, followers_count bigint, following_count bigint,
            posts_count bigint, engagement_rate double precision, metadata jsonb, posts jsonb)
    )
"""

# The same post in two syncs is one row, with its newest numbers.
UPSERT_POSTS = """
    posts as (
        insert into social_media_posts as old (account_id, platform_post_id, media_type, caption, url, media_url,
            likes_count, comments_count, shares_count, views_count, hashtags, posted_at)
        select distinct on (p.platform_post_id) account.id, p.*
        from account, given, jsonb_to_recordset(given.posts) as p(platform_post_id text, media_type text, caption text,
            url text, media_url text, likes_count bigint, comments_count bigint, shares_count bigint,
            views_count bigint, hashtags text[], posted_at timestamptz)
        on conflict (account_id, platform_post_id) do update
        set media_type = excluded.media_type, caption = excluded.caption, url = excluded.url,
            media_url = excluded.media_url, likes_count = excluded.likes_count,
            comments_count = excluded.comments_count, shares_count = excluded.shares_count,
            views_count = excluded.views_count, hashtags = excluded.hashtags, posted_at = excluded.posted_at,
            updated_at = now()
    )
"""

SAME = "lower(a.username) = lower(excluded.username)"

COUNTS = ("followers_count", "following_count", "posts_count", "engagement_rate")

# A count that the platform did not report keeps its value.
SYNCED_COUNTS = ", ".join(f"{name} = coalesce(g.{name}, a.{name})" for name in COUNTS)
# The same if the handle stays. A new handle is another account, whose counts start at 0.
CONNECTED_COUNTS = ", ".join(
    f"{name} = coalesce((select {name} from given), case when {SAME} then a.{name} end, 0)" for name in COUNTS
)

PROFILE = """
    username = {from}.username, display_name = {from}.display_name, profile_picture = {from}.profile_picture,
    profile_url = {from}.profile_url, metadata = {from}.metadata,
    last_synced_at = $2, next_sync_at = $2::timestamptz + interval '7 days', sync_failures = 0, updated_at = now()
"""

# A new handle is another account in the same row: data and verification of the former one are cleared.
# With the encrypted tokens $6 to $9 it becomes a verified OAuth account. Without them, a handle that stays keeps its
# tokens and its verification.
CONNECT = f"""
    with {GIVEN}, former as (
        delete from social_media_posts p using social_media_accounts a, given g
        where a.influencer_id = $3 and a.platform = g.platform and lower(a.username) <> lower(g.username)
            and p.account_id = a.id
            and p.platform_post_id not in (select post->>'platform_post_id' from jsonb_array_elements(g.posts) post)
    ), account as (
        insert into social_media_accounts as a (id, influencer_id, platform, username, platform_user_id, display_name,
            profile_picture, profile_url, followers_count, following_count, posts_count, engagement_rate, metadata,
            last_synced_at, next_sync_at, connection, is_verified, verified_at, verification_code,
            access_token, refresh_token, token_expires_at, refresh_expires_at)
        select $4, $3, platform, username, platform_user_id, display_name, profile_picture, profile_url,
            {", ".join(f"coalesce({name}, 0)" for name in COUNTS)}, metadata,
            $2::timestamptz, $2::timestamptz + interval '7 days',
            case when $6::bytea is null then 'PUBLIC' else 'OAUTH' end, $6 is not null,
            case when $6 is not null then now() end, case when $6 is null then $5 end, $6, $7, $8, $9
        from given
        on conflict (influencer_id, platform) do update set {PROFILE.replace("{from}", "excluded")}, {CONNECTED_COUNTS},
            platform_user_id = excluded.platform_user_id, is_active = true,
            connection = case when $6 is null and {SAME} then a.connection else excluded.connection end,
            is_verified = excluded.is_verified or {SAME} and a.is_verified,
            verified_at = case when {SAME} and a.is_verified then a.verified_at else excluded.verified_at end,
            verification_code = case
                when excluded.is_verified or {SAME} and a.is_verified then null
                when {SAME} then coalesce(a.verification_code, $5) else $5 end,
            access_token = case when $6 is null and {SAME} then a.access_token else $6 end,
            refresh_token = case when $6 is null and {SAME} then a.refresh_token else $7 end,
            token_expires_at = case when $6 is null and {SAME} then a.token_expires_at else $8 end,
            refresh_expires_at = case when $6 is null and {SAME} then a.refresh_expires_at else $9 end,
            refresh_claimed_until = null,
            needs_reconnect = $6 is null and {SAME} and a.needs_reconnect,
            reminders_sent = case when {SAME} then a.reminders_sent else 0 end,
            reminded_at = case when {SAME} then a.reminded_at end,
            created_at = case when {SAME} then a.created_at else now() end
        returning *
    ), {UPSERT_POSTS}
    select {OwnAccount.sql("account")} as body, id, verification_code from account
"""

# Only if the account is still the one that the profile was requested for.
SYNC = f"""
    with {GIVEN}, account as (
        update social_media_accounts a set {PROFILE.replace("{from}", "g")}, {SYNCED_COUNTS}
        from given g
        where a.id = $3 and a.platform = g.platform and a.connection = $4
            and ($4 = 'OAUTH' or lower(a.username) = lower(g.username))
        returning a.*
    ), {UPSERT_POSTS}
    select {OwnAccount.sql("account")} as body, id from account
"""

PRUNE_POSTS = f"""
    delete from social_media_posts where id in (
        select id from social_media_posts where account_id = $1
        order by posted_at desc nulls last, id offset {KEPT_POSTS}
    )
"""

# Locks are taken in the order handle, influencers by id, accounts, which prevents deadlocks.
LOCK_INFLUENCERS = "select from influencers where id = any ($1::uuid[]) order by id for update"

LOCK_OWNER_OF = """
    select from influencers i join social_media_accounts a on a.influencer_id = i.id where a.id = $1 for update of i
"""


async def lock_owner(tx: Transaction, user_id: str, platform: str) -> Owner | None:
    """Lock and return the influencer with the account of the platform; None unless the user is an active influencer."""
    row = await tx.fetchrow(LOCK_OWNER, user_id, platform)
    return Owner(*row) if row else None


async def lock_handle(tx: Transaction, platform: str, username: str) -> None:
    """Lock a handle; call this before all other locks (see LOCK_INFLUENCERS)."""
    await tx.execute(LOCK_HANDLE, platform, username)


async def check_handle(tx: Transaction, platform: str, username: str, influencer_id: str) -> None:
    """Raise HandleTaken if another user has verified the handle. The caller holds its lock."""
    if await tx.fetchval(FIND_PROVEN, platform, username, influencer_id):
        raise HandleTaken


async def connect_account(
    tx: Transaction,
    owner: Owner,
    account_id: str,
    profile: str,
    fetched_at: datetime,
    code: str,
    tokens: SealedTokens | None = None,
) -> Connected:
    """Create the owner's account on the profile's platform, or replace the profile of the existing account.

    `account_id` is the id of that account, or a new id. With `tokens` (encrypted) the account is verified; otherwise
    `code` is its verification code. The caller has checked the handle.
    """
    sealed = tuple(tokens) if tokens else (None,) * 4
    row = await tx.fetch_one(CONNECT, profile, fetched_at, owner.influencer_id, account_id, code, *sealed)
    await tx.execute(PRUNE_POSTS, row["id"])
    return Connected(row["body"], row["verification_code"])


async def sync_account(
    tx: Transaction, account_id: str, connection: str, profile: str, fetched_at: datetime
) -> orjson.Fragment | None:
    """Store a fetched profile. Return the OwnAccount, or None if the account was changed or deleted meanwhile."""
    await tx.execute(LOCK_OWNER_OF, account_id)
    row = await tx.fetchrow(SYNC, profile, fetched_at, account_id, connection)
    if row is None:
        return None
    await tx.execute(PRUNE_POSTS, row["id"])
    account: orjson.Fragment = row["body"]
    return account


ISSUE_CODE = """
    update social_media_accounts set verification_code = coalesce(verification_code, $2) where id = $1
    returning verification_code
"""

PROVE = """
    update social_media_accounts
    set is_verified = true, verified_at = now(), verification_code = null, updated_at = now()
    where id = $1 and is_active and verification_code = $2 and lower(username) = lower($3)
    returning true
"""

# Other influencers who have connected the same handle without verification.
FIND_CLAIMANTS = """
    select influencer_id from social_media_accounts
    where platform = $1 and lower(username) = lower($2) and not is_verified and is_active and influencer_id <> $3
"""

END_CLAIMS = """
    update social_media_accounts a set is_active = false, updated_at = now()
    from influencers i
    where a.platform = $1 and lower(a.username) = lower($2) and not a.is_verified and a.is_active
        and a.influencer_id <> $3 and i.id = a.influencer_id
    returning a.id, i.user_id
"""


async def prove_account(
    tx: Transaction, account_id: str, platform: str, username: str, influencer_id: str, code: str
) -> list[NotificationChange] | None:
    """Mark the account as verified, because its code is in the profile's bio; deactivate it for other influencers.

    Return the notifications of those, or None if the account was changed meanwhile. Raises HandleTaken.
    """
    await lock_handle(tx, platform, username)
    await check_handle(tx, platform, username, influencer_id)
    claimants = await lock_claimants(tx, platform, username, influencer_id)
    if not await tx.fetchval(PROVE, account_id, code, username):
        return None
    return await end_claims(tx, platform, username, influencer_id, claimants)


async def lock_claimants(tx: Transaction, platform: str, username: str, influencer_id: str) -> list[str]:
    """Lock this influencer and all who have connected the handle without verification; return the ids of the latter."""
    claimants = [row["influencer_id"] for row in await tx.fetch(FIND_CLAIMANTS, platform, username, influencer_id)]
    await tx.execute(LOCK_INFLUENCERS, [influencer_id, *claimants])
    return claimants


async def end_claims(
    tx: Transaction, platform: str, username: str, influencer_id: str, claimants: list[str]
) -> list[NotificationChange]:
    """Deactivate the claimants' accounts with a handle that this influencer has verified; return notices to publish."""
    if not claimants:
        return []
    ended = await tx.fetch(END_CLAIMS, platform, username, influencer_id)
    return [
        await notify(
            tx,
            account["user_id"],
            "SYSTEM",
            "A connected account was removed",
            f"Another user has proven that @{username} is their account. Please connect your own account.",
            metadata={"accountId": account["id"], "platform": platform, "reason": "PROVEN_BY_ANOTHER"},
        )
        for account in ended[:NOTIFIED_CLAIMANTS]
    ]


DISCONNECT = "delete from social_media_accounts where id = $1 and influencer_id = $2"


async def disconnect_account(tx: Transaction, owner: Owner, account_id: str) -> None:
    """Delete the owner's account and its posts. The caller has queued the revocation of its tokens."""
    await tx.execute(DISCONNECT, account_id, owner.influencer_id)


NEEDS_RECONNECT = """
    update social_media_accounts a set needs_reconnect = true, updated_at = now()
    from influencers i
    where a.id = $1 and i.id = a.influencer_id and a.connection = 'OAUTH' and not a.needs_reconnect
        and a.refresh_token is not distinct from $2
    returning i.user_id, a.username
"""


async def mark_needs_reconnect(
    tx: Transaction, account_id: str, refresh_token: bytes | None
) -> NotificationChange | None:
    """Notify the owner once that TikTok no longer accepts these tokens; return None if the account has other tokens."""
    row = await tx.fetchrow(NEEDS_RECONNECT, account_id, refresh_token)
    if row is None:
        return None
    return await notify(
        tx,
        row["user_id"],
        "SYSTEM",
        "Please connect TikTok again",
        f"TikTok no longer lets us read @{row['username']}. Connect the account again to keep its numbers fresh.",
        metadata={"accountId": account_id, "platform": "TIKTOK", "reason": "NEEDS_RECONNECT"},
    )


# Only if it is still due: a runner that was frozen may fail after another one has synced the account.
POSTPONE_SYNC = f"""
    update social_media_accounts
    set sync_failures = sync_failures + 1,
        next_sync_at = now() + least(interval '{BACK_OFF_HOURS} hours' * 2 ^ least(sync_failures, 20),
            interval '{SYNC_DAYS} days')
    where id = $1 and next_sync_at <= now()
"""


async def postpone_sync(queries: Queries, account_id: str) -> None:
    """Delay the next sync after a failure: by 1 h, 2 h, 4 h … 7 days."""
    await queries.execute(POSTPONE_SYNC, account_id)
