"""A stand-in for TikTok Login Kit v2 and the calls behind it (https://developers.tiktok.com/doc/oauth-user-access-token-management).

On the authorize page a person chooses a user and allows or refuses; `approve()` does the same in a test.
Codes and refresh tokens work once, PKCE and the redirect address are checked, answers have only the requested fields.
"""

import base64
import hashlib
import secrets
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.vendors.people import WRITTEN, person, tiktok_user, tiktok_videos
from tests.vendors.stand_in import Answer, Handler, StandIn

CLIENT_KEY = "tiktok-test-key"
CLIENT_SECRET = "tiktok-test-secret"
ACCESS_SECONDS = 2 * 3600
REFRESH_SECONDS = 180 * 24 * 3600
MAX_COUNT = 20
USER_SCOPES = {
    "user.info.profile": {"username", "bio_description", "profile_deep_link", "is_verified"},
    "user.info.stats": {"follower_count", "following_count", "likes_count", "video_count"},
}
OK = {"code": "ok", "message": "", "log_id": "20261030ABCDEF"}


def refusal(status: int, code: str) -> Answer:
    return status, {"error": code, "error_description": f"vendor words about {code}", "log_id": OK["log_id"]}


def data_error(status: int, code: str) -> Answer:
    return status, {"data": {}, "error": {"code": code, "message": f"vendor words about {code}", "log_id": "1"}}


@dataclass
class Grant:
    username: str
    scope: str
    redirect_uri: str = ""
    challenge: str = ""


class Authorize(Handler):
    def get(self) -> None:
        asked = {name: self.get_argument(name, "") for name in ("client_key", "redirect_uri", "state", "scope")}
        if asked["client_key"] != CLIENT_KEY or self.get_argument("response_type", "") != "code":
            return self.answer(400, "<h1>Something went wrong: client_key</h1>")
        decision = self.get_argument("decision", "")
        if not decision:
            return self.answer(200, self.page())
        back: dict[str, str] = {"state": asked["state"]}
        if decision == "allow":
            scope = self.get_argument("granted", asked["scope"])
            grant = Grant(
                self.get_argument("username", WRITTEN[0].username),
                scope,
                asked["redirect_uri"],
                self.get_argument("code_challenge", ""),
            )
            back |= {"code": self.vendor.new_code(grant), "scopes": scope}
        else:
            back |= {"error": "access_denied", "error_description": "The user denied the request"}
        return self.redirect(f"{asked['redirect_uri']}?{urlencode(back)}")

    def page(self) -> str:
        def link(text: str, **extra: str) -> str:
            return f'<p><a href="?{escape(self.request.query)}&amp;{escape(urlencode(extra))}">{escape(text)}</a></p>'

        people = "".join(link(f"Allow, as @{who.username}", decision="allow", username=who.username) for who in WRITTEN)
        return f"<!doctype html><title>TikTok (stand-in)</title>{people}{link('Cancel', decision='deny')}"


class Token(Handler):
    def post(self) -> None:
        form = self.body
        if not self.vendor.knows_client(form):
            return self.answer(*refusal(401, "invalid_client"))
        if form.get("grant_type") == "authorization_code":
            grant = self.vendor.codes.pop(form.get("code", ""), None)
            if grant is None or grant.redirect_uri != form.get("redirect_uri"):
                return self.answer(*refusal(400, "invalid_grant"))
            if grant.challenge != challenge(grant.redirect_uri, form.get("code_verifier", "")):
                return self.answer(*refusal(400, "invalid_request"))
        elif form.get("grant_type") == "refresh_token":
            grant = self.vendor.refresh_tokens.pop(form.get("refresh_token", ""), None)
            if grant is None:
                return self.answer(*refusal(400, "invalid_grant"))
        else:
            return self.answer(*refusal(400, "unsupported_grant_type"))
        return self.answer(200, self.vendor.new_tokens(grant))


class Revoke(Handler):
    def post(self) -> None:
        if not self.vendor.knows_client(self.body):
            return self.answer(*refusal(401, "invalid_client"))
        grant = self.vendor.access_tokens.pop(self.body.get("token"), None)
        if grant is None:
            return self.answer(*refusal(400, "invalid_grant"))
        self.vendor.end_grant(grant)
        return self.answer(200, "")


class DataCall(Handler):
    grant: Grant

    async def prepare(self) -> None:
        await super().prepare()
        if self._finished:
            return
        token = self.request.headers.get("Authorization", "").removeprefix("Bearer ")
        grant = self.vendor.access_tokens.get(token)
        if grant is None:
            self.answer(*data_error(401, "access_token_invalid"))
        else:
            self.grant = grant

    def allows(self, *scopes: str) -> bool:
        return set(scopes) <= set(self.grant.scope.split(","))

    def fields(self) -> set[str]:
        return set(self.get_argument("fields", "").split(","))


class UserInfo(DataCall):
    def get(self) -> None:
        fields = self.fields()
        needed = [scope for scope, names in USER_SCOPES.items() if names & fields]
        if not self.allows("user.info.basic", *needed):
            return self.answer(*data_error(401, "scope_not_authorized"))
        user = tiktok_user(person(self.grant.username)) | self.vendor.users.get(self.grant.username, {})
        user = {name: value for name, value in user.items() if name in fields}
        return self.answer(200, {"data": {"user": user}, "error": OK})


class VideoList(DataCall):
    def post(self) -> None:
        if not self.allows("video.list"):
            return self.answer(*data_error(401, "scope_not_authorized"))
        count = (self.body or {}).get("max_count", 10)
        if not 1 <= count <= MAX_COUNT:
            return self.answer(*data_error(400, "invalid_params"))
        fields = self.fields()
        everything = self.vendor.videos.get(self.grant.username) or tiktok_videos(person(self.grant.username))
        cursor = (self.body or {}).get("cursor")
        older = [video for video in everything if cursor is None or video["create_time"] * 1000 < cursor]
        page = older[:count]
        data = {
            "videos": [{name: value for name, value in video.items() if name in fields} for video in page],
            "cursor": page[-1]["create_time"] * 1000 if page else 0,
            "has_more": len(older) > count,
        }
        return self.answer(200, {"data": data, "error": OK})


class TikTok(StandIn):
    failures = {
        "invalid_grant": refusal(400, "invalid_grant"),
        "invalid_client": refusal(401, "invalid_client"),
        "invalid_request": refusal(400, "invalid_request"),
        "token_expired": data_error(401, "access_token_invalid"),
        "scope_missing": data_error(401, "scope_not_authorized"),
        "invalid_params": data_error(400, "invalid_params"),
        "rate_limited": data_error(429, "rate_limit_exceeded"),
        "server_error": data_error(500, "internal_error"),
        "bad_gateway": (502, "<html>502 Bad Gateway</html>"),
        "nonsense": (200, "<html>welcome</html>"),
        "no_object": (200, [1, 2, 3]),
        "no_tokens": (200, {"scope": "user.info.basic"}),
        "no_data": (200, {"data": None, "error": OK}),
        "huge": (200, '{"data": {"user": {"open_id": "' + "x" * 2_000_000 + '"}}}'),
    }
    routes = [
        ("/v2/auth/authorize/", Authorize),
        ("/v2/oauth/token/", Token),
        ("/v2/oauth/revoke/", Revoke),
        ("/v2/user/info/", UserInfo),
        ("/v2/video/list/", VideoList),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.codes: dict[str, Grant] = {}
        self.access_tokens: dict[str, Grant] = {}
        self.refresh_tokens: dict[str, Grant] = {}
        self.users: dict[str, dict[str, Any]] = {}  # by username, merged over the data of `people`
        self.videos: dict[str, list[dict[str, Any]]] = {}  # by username, instead of the data of `people`

    @property
    def auth_url(self) -> str:
        return f"{self.url}/v2/auth/authorize"

    def approve(self, authorize_url: str, username: str = WRITTEN[0].username, granted: str | None = None) -> str:
        """Grant what the page at `authorize_url` asks for; return the code of the redirect."""
        asked = dict(parse_qsl(urlsplit(authorize_url).query))
        grant = Grant(username, granted or asked["scope"], asked["redirect_uri"], asked["code_challenge"])
        return self.new_code(grant)

    def expire_access_tokens(self) -> None:
        self.access_tokens.clear()

    def new_code(self, grant: Grant) -> str:
        code = secrets.token_urlsafe(16) + "*!"  # TikTok's codes contain such characters
        self.codes[code] = grant
        return code

    def new_tokens(self, grant: Grant) -> dict[str, Any]:
        access, refresh = f"act.{secrets.token_urlsafe(24)}", f"rft.{secrets.token_urlsafe(24)}"
        self.access_tokens[access] = grant
        self.refresh_tokens[refresh] = grant
        return {
            "open_id": tiktok_user(person(grant.username))["open_id"],
            "scope": grant.scope,
            "access_token": access,
            "expires_in": ACCESS_SECONDS,
            "refresh_token": refresh,
            "refresh_expires_in": REFRESH_SECONDS,
            "token_type": "Bearer",
        }

    def end_grant(self, grant: Grant) -> None:
        for tokens in (self.access_tokens, self.refresh_tokens):
            for token in [token for token, held in tokens.items() if held is grant]:
                del tokens[token]

    def knows_client(self, form: dict[str, str]) -> bool:
        return (form.get("client_key"), form.get("client_secret")) == (CLIENT_KEY, CLIENT_SECRET)


def challenge(redirect_uri: str, verifier: str) -> str:
    """Return the PKCE challenge: as in RFC 7636 for web apps, in hexadecimal for desktop apps (loopback addresses)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    if redirect_uri.startswith(("http://localhost:", "http://127.0.0.1:")):
        return digest.hex()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
