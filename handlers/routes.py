"""The table of all routes, with the aliases that the web client uses."""

from tornado.web import HTTPError

from db.errors import DomainError, NotFound
from handlers import connections, discovery, docs, health, media, metrics, notifications, onboarding, proxy
from handlers.admin import account as admin_account
from handlers.admin import connections as admin_connections
from handlers.admin import jobs as admin_jobs
from handlers.admin import stats as admin_stats
from handlers.admin import users as admin_users
from handlers.auth import sign_in
from handlers.auth import sign_up as auth
from handlers.chat import attachments, conversations, messages
from handlers.http.aliases import ALIASES
from handlers.http.base import Handler
from handlers.http.endpoint import PUBLIC, Endpoint
from handlers.http.errors import MethodNotAllowed
from handlers.http.router import Route, Table
from handlers.profile import account as accounts
from handlers.profile import export, profile
from handlers.social_media import accounts as social_media
from handlers.social_media import lookups as social_lookups
from handlers.social_media import tiktok_oauth
from realtime.sockets.socket import Socket

API = "/api/v1"
API_MODULES = (
    auth,
    sign_in,
    discovery,
    onboarding,
    profile,
    accounts,
    export,
    connections,
    conversations,
    messages,
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
SOCKET = Endpoint(
    PUBLIC,
    counted=False,
    statuses=(101,),
    errors=("FORBIDDEN", "UPGRADE_REQUIRED", "NOT_READY"),
    reads_token=True,
    summary="Open the WebSocket",
)
ROOT_MODULES = (
    health,
    metrics,
    docs,
    media,
)


class UnknownRoute(Handler):
    """A request that no route serves: an unknown path, or a known path with another method."""

    async def admit(self) -> None:
        await self.count_request(None)
        raise self.no_route()

    async def refuse(self, *_: str) -> None:
        raise self.refusal or self.no_route()

    def no_route(self) -> DomainError:
        allowed: list[str] = self.request.allowed  # type: ignore[attr-defined]  # set by the router
        return MethodNotAllowed(self.request.method, allowed) if allowed else NotFound()

    def find_error(self, error: BaseException | None) -> DomainError | None:
        if isinstance(error, HTTPError) and error.status_code == 405:
            # Tornado refuses a method that it does not know before `prepare`, and may not read the body.
            self.set_lasting_headers({"Connection": "close"})
            return self.no_route()
        return super().find_error(error)

    get = head = post = put = patch = delete = refuse


def make_table() -> Table:
    declared = [(API + path, handler) for module in API_MODULES for path, handler in module.routes]
    declared += [route for module in ROOT_MODULES for route in module.routes]
    table = Table(declared, UnknownRoute)
    table.add(Route("GET", "/ws", Socket, SOCKET))
    for (method, path), (canonical_method, canonical_path) in ALIASES.items():
        table.add_alias(method, API + path, canonical_method, API + canonical_path)
    return table
