"""An influencer's Instagram and TikTok accounts: connect, synchronise, verify ownership, disconnect."""

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, get_args
from uuid import uuid4

import asyncpg
import orjson
from pydantic import AfterValidator, WithJsonSchema

from db.errors import Conflict, HandleTaken, NotFound
from db.queries.social.accounts import (
    ISSUE_CODE,
    SYNC_DAYS,
    Connected,
    check_handle,
    connect_account,
    disconnect_account,
    lock_handle,
    lock_owner,
    mark_needs_reconnect,
    prove_account,
    sync_account,
)
from db.queries.social.tiktok_tokens import queue_revocations
from db.schemas import facts
from db.schemas.facts import about
from db.schemas.fields import Body, Id, Line
from db.schemas.social import AGE, OwnAccount, OwnAccountWithPosts
from handlers.http.base import Handler
from handlers.http.endpoint import INFLUENCER, SCRAPE_ERRORS, Paging, endpoint
from realtime.events import NotificationReceived
from services.errors import NeedsReconnect, VendorTimeout
from services.social.ownership import new_code, shows_code
from services.social.profiles import USERNAMES, Platform, SocialProfile, read_username
from services.social.scrapes import Fetched
from services.tiktok.revocations import revoke_now

# A profile that another caller fetched within this time is used again, because each scrape costs money.
SHARED_SECONDS = 3600.0
MAX_USERNAME_CHARS = 100  # the pattern of the platform says less
PROVEN = {"isVerified": Annotated[bool, about("Whether ownership of the account is proven", True)]}
CODE = {"verificationCode": Annotated[str, about("The code to put into the bio", "encer-7K2M9QXA")]}
SYNC_ERRORS = ("HANDLE_TAKEN", "CONFLICT", "NEEDS_RECONNECT", *SCRAPE_ERRORS)
SYNC_LIMIT = "You can refresh your accounts by hand three times an hour; they are refreshed automatically every day"


def handle_of(platform: Platform) -> Any:
    """Return the type of a username as people type it; its schema has the form that programs should send."""
    schema = {
        "type": "string",
        "maxLength": MAX_USERNAME_CHARS,
        "pattern": f"^@?{USERNAMES[platform]}$",
        "description": "Username on the platform; a leading `@` is ignored",
        "examples": facts.USERNAME.examples,
    }
    return Annotated[
        str, Line(MAX_USERNAME_CHARS), AfterValidator(partial(read_username, platform)), WithJsonSchema(schema)
    ]


class InstagramHandle(Body):
    """A username on Instagram."""

    username: handle_of("INSTAGRAM")  # type: ignore[valid-type]


class TikTokHandle(Body):
    """A username on TikTok."""

    username: handle_of("TIKTOK")  # type: ignore[valid-type]


class ChosenAccount(Body):
    """One of the caller's connected accounts."""

    account_id: Id = facts.ACCOUNT_ID


LIST_ACCOUNTS = f"""
    select {OwnAccount.sql("a")} from social_media_accounts a join influencers i on i.id = a.influencer_id
    where i.user_id = $1 and a.is_active order by a.platform
"""


class Accounts(Handler):
    @endpoint(INFLUENCER, query=Paging, returns=list[OwnAccount], data_as="accounts")
    async def get(self, query: Paging) -> None:
        """List the caller's connected accounts, at most one per platform."""
        accounts = [row[0] for row in await self.db.fetch(LIST_ACCOUNTS, self.caller.id)]
        self.reply(accounts, accounts=accounts, pageInfo={"nextCursor": None, "hasMore": False})


LOAD_ACCOUNT = f"""
    select a.id, a.influencer_id, a.platform, a.username, a.connection, a.is_active, a.is_verified, a.refresh_token,
        a.last_synced_at > now() - interval '{SYNC_DAYS} days' as fresh,
        greatest(extract(epoch from now() - a.last_synced_at), 0)::int as age, now() as asked_at,
        {OwnAccount.sql("a")} as body
    from social_media_accounts a join influencers i on i.id = a.influencer_id
    where a.id = $2 and i.user_id = $1 and ($3::text is null or a.platform = $3)
"""


class SocialHandler(Handler):
    platform: Platform

    async def load(self, account_id: str, platform: str | None) -> asyncpg.Record:
        row = await self.db.fetchrow(LOAD_ACCOUNT, self.caller.id, account_id, platform)
        if row is None:
            raise NotFound("Account")
        return row


FIND_UNPROVEN_RIVAL = """
    select exists (
        select from social_media_accounts a join influencers i on i.id = a.influencer_id
        where a.platform = $2 and lower(a.username) = lower($3) and a.is_verified and i.user_id <> $1
    )
"""


class ConnectHandler(SocialHandler):
    async def connect(self, username: str) -> None:
        """Fetch the profile and store it. A handle that another user has proven is refused before the paid scrape."""
        self.services.scrapes.ensure_configured()
        if await self.db.fetchval(FIND_UNPROVEN_RIVAL, self.caller.id, self.platform, username):
            raise HandleTaken
        found = await self.services.scrapes.fetch(
            self.platform, username, max_age=SHARED_SECONDS, requested_by=self.caller.id
        )
        connected = await self.store(found)
        message = f"@{found.profile.username} is connected"
        if connected.verification_code:
            message += f". To show that it is yours, put {connected.verification_code} into its bio, then verify it."
        self.reply(
            connected.account, message=message, account=connected.account, verificationCode=connected.verification_code
        )

    async def store(self, found: Fetched) -> Connected:
        handle = found.profile.username
        async with self.db.transaction() as tx:
            await lock_handle(tx, self.platform, handle)
            owner = await lock_owner(tx, self.caller.id, self.platform)
            if owner is None:
                raise NotFound("Influencer profile")
            await check_handle(tx, self.platform, handle, owner.influencer_id)
            if owner.account_id and owner.replaces(handle):
                revocations = await queue_revocations(tx, self.caller.id, owner.account_id)
                tx.after_commit(revoke_now, self.db, self.services.tiktok, revocations)
            return await connect_account(
                tx,
                owner,
                owner.account_id or str(uuid4()),
                found.profile.model_dump_json(),
                found.finished_at,
                new_code(),
            )


class ConnectInstagram(ConnectHandler):
    platform = "INSTAGRAM"

    @endpoint(
        INFLUENCER,
        body=InstagramHandle,
        returns=OwnAccount,
        data_as="account",
        beside=CODE,
        limit="limit_connect",
        errors=("HANDLE_TAKEN", *SCRAPE_ERRORS),
    )
    async def post(self, body: InstagramHandle) -> None:
        """Connect a public Instagram profile; `verificationCode` in its bio proves ownership."""
        await self.connect(body.username)


class ConnectTikTok(ConnectHandler):
    platform = "TIKTOK"

    @endpoint(
        INFLUENCER,
        body=TikTokHandle,
        returns=OwnAccount,
        data_as="account",
        beside=CODE,
        limit="limit_connect",
        errors=("HANDLE_TAKEN", *SCRAPE_ERRORS),
    )
    async def post(self, body: TikTokHandle) -> None:
        """Connect a public TikTok profile; `verificationCode` in its bio proves ownership."""
        await self.connect(body.username)


class SyncHandler(SocialHandler):
    async def sync(self, account_id: str) -> None:
        account = await self.load(account_id, self.platform)
        if not account["is_active"]:
            raise HandleTaken
        await self.count([self.user_claim("limit_sync")], SYNC_LIMIT)
        if account["fresh"]:
            self.reply(
                account["body"],
                account=account["body"],
                cached=True,
                cacheAge=account["age"],
                message=f"The numbers are up to date; they are fetched again after {SYNC_DAYS} days",
            )
            return
        profile, fetched_at = await self.fetch(account)
        async with self.db.transaction() as tx:
            body = await sync_account(tx, account["id"], account["connection"], profile.model_dump_json(), fetched_at)
        if body is None:
            raise NotFound("Account")
        self.reply(body, account=body, cached=False, cacheAge=0, message="The numbers are up to date")

    async def fetch(self, account: asyncpg.Record) -> tuple[SocialProfile, datetime]:
        if account["connection"] == "PUBLIC":
            found = await self.services.scrapes.fetch(
                self.platform, account["username"], max_age=SHARED_SECONDS, requested_by=self.caller.id
            )
            return found.profile, found.finished_at
        try:
            return await self.services.tiktok.fetch(account["id"]), datetime.now(UTC)
        except NeedsReconnect as error:
            async with self.db.transaction() as tx:
                notice = await mark_needs_reconnect(tx, account["id"], error.refused or account["refresh_token"])
                if notice:
                    tx.after_commit(self.publish, NotificationReceived(*notice))
            raise


class SyncInstagram(SyncHandler):
    platform = "INSTAGRAM"

    @endpoint(INFLUENCER, body=ChosenAccount, returns=OwnAccount, data_as="account", beside=AGE, errors=SYNC_ERRORS)
    async def post(self, body: ChosenAccount) -> None:
        """Fetch the numbers of an Instagram account again if they are older than 7 days."""
        self.services.scrapes.ensure_configured()
        await self.sync(body.account_id)


class SyncTikTok(SyncHandler):
    platform = "TIKTOK"

    @endpoint(INFLUENCER, body=ChosenAccount, returns=OwnAccount, data_as="account", beside=AGE, errors=SYNC_ERRORS)
    async def post(self, body: ChosenAccount) -> None:
        """Fetch the numbers of a TikTok account again if they are older than 7 days."""
        if not self.services.tiktok.oauth.configured:
            self.services.scrapes.ensure_configured()
        await self.sync(body.account_id)


class VerifyAccount(SocialHandler):
    @endpoint(
        INFLUENCER,
        returns=OwnAccount,
        data_as="account",
        beside=PROVEN,
        errors=("CODE_NOT_FOUND", "HANDLE_TAKEN", "CONFLICT", *SCRAPE_ERRORS),
    )
    async def post(self, account_id: str) -> None:
        """Fetch the profile now and search its bio for the code; 409 CODE_NOT_FOUND if it is missing."""
        self.services.scrapes.ensure_configured()
        account = await self.load(account_id, None)
        if not account["is_active"]:
            raise HandleTaken
        body = account["body"]
        if not account["is_verified"]:
            await self.count([self.user_claim("limit_connect", "verify")])
            body = await self.prove(account)
        self.reply(body, account=body, isVerified=True, message=f"@{account['username']} is yours")

    async def prove(self, account: asyncpg.Record) -> orjson.Fragment | None:
        """Fetch the profile as it is now, store its numbers, and raise CODE_NOT_FOUND if its bio lacks the code."""
        platform, username = account["platform"], account["username"]
        code = await self.db.fetchval(ISSUE_CODE, account["id"], new_code())
        try:
            async with asyncio.timeout(self.services.scrapes.timeout):
                found = await self.scrape(platform, username)
                if found.started_at < account["asked_at"] and not shows_code(found.profile.biography, code):
                    # Another caller started this scrape earlier, and the code may have been added to the bio since.
                    found = await self.scrape(platform, username)
        except TimeoutError:
            raise VendorTimeout("apify", "two scrapes took longer than one may") from None
        proven = shows_code(found.profile.biography, code)
        async with self.db.transaction() as tx:
            if proven:
                notices = await prove_account(tx, account["id"], platform, username, account["influencer_id"], code)
                if notices is None:
                    raise Conflict("The account has changed meanwhile; please reload your accounts and try again")
                for notice in notices:
                    tx.after_commit(self.publish, NotificationReceived(*notice))
            profile = found.profile.model_dump_json()
            body = await sync_account(tx, account["id"], account["connection"], profile, found.finished_at)
        if not proven:
            raise Conflict(
                "The code was not found in the profile's bio",
                f"Please put {code} into the bio of @{username}, save it, and try again.",
                code="CODE_NOT_FOUND",
                verificationCode=code,
            )
        return body

    async def scrape(self, platform: Platform, username: str) -> Fetched:
        return await self.services.scrapes.fetch(platform, username, requested_by=self.caller.id)


LOAD_WITH_POSTS = f"""
    select {OwnAccountWithPosts.sql("a")} as body,
        greatest(extract(epoch from now() - a.last_synced_at), 0)::int as age
    from social_media_accounts a join influencers i on i.id = a.influencer_id
    where a.id = $2 and i.user_id = $1 and a.platform = $3
"""


class AccountHandler(SocialHandler):
    async def show(self, account_id: str) -> None:
        row = await self.db.fetchrow(LOAD_WITH_POSTS, self.caller.id, account_id, self.platform)
        if row is None:
            raise NotFound("Account")
        self.reply(row["body"], account=row["body"], cached=True, cacheAge=row["age"])

    async def disconnect(self, platform: str, account_id: str | None = None) -> None:
        async with self.db.transaction() as tx:
            owner = await lock_owner(tx, self.caller.id, platform)
            if owner is None or owner.account_id is None or account_id not in (None, owner.account_id):
                raise NotFound("Account")
            revocations = await queue_revocations(tx, self.caller.id, owner.account_id)
            await disconnect_account(tx, owner, owner.account_id)
            tx.after_commit(revoke_now, self.db, self.services.tiktok, revocations)
        self.reply(message=f"@{owner.username} is disconnected")


class InstagramAccount(AccountHandler):
    platform = "INSTAGRAM"

    @endpoint(INFLUENCER, returns=OwnAccountWithPosts, data_as="account", beside=AGE)
    async def get(self, account_id: str) -> None:
        """Return the caller's Instagram account with its newest posts, as last fetched; `cacheAge` is in seconds."""
        await self.show(account_id)

    @endpoint(INFLUENCER)
    async def delete(self, account_id: str) -> None:
        """Disconnect the caller's Instagram account and delete its posts."""
        await self.disconnect(self.platform, account_id)


class TikTokAccount(AccountHandler):
    platform = "TIKTOK"

    @endpoint(INFLUENCER, returns=OwnAccountWithPosts, data_as="account", beside=AGE)
    async def get(self, account_id: str) -> None:
        """Return the caller's TikTok account with its newest posts, as last fetched; `cacheAge` is in seconds."""
        await self.show(account_id)

    @endpoint(INFLUENCER)
    async def delete(self, account_id: str) -> None:
        """Disconnect the caller's TikTok account, delete its posts and revoke its tokens."""
        await self.disconnect(self.platform, account_id)


class AccountOfPlatform(AccountHandler):
    @endpoint(INFLUENCER)
    async def delete(self, platform: str) -> None:
        """Disconnect the caller's account of the platform with this name."""
        if platform.upper() not in get_args(Platform):
            raise NotFound("Platform")
        await self.disconnect(platform.upper())


routes = [
    ("/social-media/accounts", Accounts),
    ("/social-media/instagram/connect", ConnectInstagram),
    ("/social-media/instagram/sync", SyncInstagram),
    ("/social-media/instagram/{id}", InstagramAccount),
    ("/social-media/tiktok/connect-public", ConnectTikTok),
    ("/social-media/tiktok/public/sync", SyncTikTok),
    ("/social-media/tiktok/public/{id}", TikTokAccount),
    ("/social-media/{id}/verify", VerifyAccount),
    ("/social-media/{platform:str}", AccountOfPlatform),
]
