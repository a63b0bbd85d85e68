"""The routes of every room, in one table with the web client's spellings."""

from handlers import (
    accounts,
    admin_account,
    admin_connections,
    admin_jobs,
    admin_stats,
    admin_users,
    attachments,
    auth,
    chat,
    connections,
    discovery,
    docs,
    export,
    health,
    media,
    notifications,
    onboarding,
    profile,
    proxy,
    sign_in,
    social_lookups,
    social_media,
    tiktok_oauth,
)
from handlers.aliases import ALIASES
from handlers.base import Handler
from handlers.endpoint import PUBLIC, Endpoint
from handlers.router import Route, Table
from realtime.socket import Socket

API = "/api/v1"
API_ROOMS = (
    auth,
    sign_in,
    discovery,
    onboarding,
    profile,
    accounts,
    export,
    connections,
    chat,
    attachments,
    notifications,
    admin_users,
    admin_connections,
    admin_jobs,
    admin_stats,
    admin_account,
    proxy,
    social_lookups,
    social_media,
    tiktok_oauth,
)
ROOT_ROOMS = (
    health,
    docs,
    media,
)


class UnknownRoute(Handler):
    """Whatever the table does not know: another path, or another method of a path."""

    async def admit(self) -> None:
        await self.count_request(f"ip:{self.network}", None)
        raise self.no_route()

    async def refuse(self, *_: str) -> None:
        assert self.refusal
        raise self.refusal

    get = head = post = put = patch = delete = refuse


def make_table() -> Table:
    declared = [(API + path, handler) for room in API_ROOMS for path, handler in room.routes]
    declared += [route for room in ROOT_ROOMS for route in room.routes]
    table = Table(declared, UnknownRoute)
    table.add(Route("GET", "/ws", Socket, Endpoint(PUBLIC, counted=False, summary="The WebSocket")))
    for (method, path), (canonical_method, canonical_path) in ALIASES.items():
        table.add_alias(method, API + path, canonical_method, API + canonical_path)
    return table
