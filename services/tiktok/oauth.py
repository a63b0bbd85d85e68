"""TikTok Login Kit v2: tokens, profile and videos of a person who consents, over TikTok's API.

There are two kinds of answers. Those of token calls are flat (`access_token …` or `error, error_description`); those of
data calls are `{data, error: {code}}`, where `error` is always present and its code is `ok` on success.
"""

import base64
import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode, urlsplit

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tornado.httpclient import HTTPError, HTTPRequest, HTTPResponse
from tornado.iostream import UnsatisfiableReadError
from tornado.simple_httpclient import HTTPStreamClosedError, HTTPTimeoutError, SimpleAsyncHTTPClient

from services.errors import (
    AccessTokenRefused,
    NeedsReconnect,
    NotConfigured,
    UnreadableAnswer,
    VendorError,
    VendorRateLimited,
    VendorRefused,
    VendorTimeout,
    VendorUnavailable,
    VendorUnreachable,
)
from services.metrics import vendor_call
from services.social.profiles import MAX_POSTS
from settings import Settings

VENDOR = "tiktok"
SCOPES = "user.info.basic,user.info.profile,user.info.stats,video.list"
USER_FIELDS = (
    "open_id,avatar_url,avatar_large_url,display_name,username,bio_description,is_verified,"
    "follower_count,following_count,likes_count,video_count"
)
VIDEO_FIELDS = (
    "id,create_time,title,video_description,cover_image_url,share_url,like_count,comment_count,share_count,view_count"
)
DESKTOP_HOSTS = {"localhost", "127.0.0.1"}
CALLBACK_PATH = "/api/v1/social-media/tiktok/oauth/callback"
PAGE_SIZE = 20  # TikTok's maximum
MAX_PAGES = 3  # enough for MAX_POSTS even if deleted videos make pages shorter
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 15.0
MAX_ANSWER_BYTES = 1024 * 1024  # twenty videos with captions are about 40 KB
MAX_CALLS = 20  # calls of one process at once; others wait, for ANSWER_SECONDS at most
MAX_RETRY_AFTER = 3600.0  # seconds; a vendor cannot delay us longer than our own back-off

# RFC 6749 error codes of the token endpoint that mean "ask the person again", not "fix the settings".
GRANT_IS_GONE = {"invalid_grant", "access_denied"}
SCOPE_IS_MISSING = {"scope_not_authorized", "scope_permission_missed"}


class GrantedTokens(BaseModel):
    """The tokens and scopes that TikTok grants. `repr` omits the tokens, so that no log line can show them."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True, defer_build=True)

    access_token: str = Field(min_length=1, max_length=4096, repr=False)
    refresh_token: str = Field(min_length=1, max_length=4096, repr=False)
    expires_in: int = Field(gt=0, le=10**9)
    refresh_expires_in: int = Field(gt=0, le=10**9)
    open_id: str = Field(min_length=1, max_length=200)
    scope: str = Field("", max_length=1000)
    received_at: datetime = Field(default_factory=lambda: datetime.now(UTC))

    @property
    def expires_at(self) -> datetime:
        return self.received_at + timedelta(seconds=self.expires_in)

    @property
    def refresh_expires_at(self) -> datetime:
        return self.received_at + timedelta(seconds=self.refresh_expires_in)

    @property
    def missing_scopes(self) -> frozenset[str]:
        """Return the requested scopes that the person has not granted."""
        return frozenset(SCOPES.split(",")) - frozenset(self.scope.split(","))


class PkcePair(NamedTuple):
    verifier: str
    challenge: str


def new_pkce_pair(redirect_uri: str) -> PkcePair:
    """Return a PKCE pair (RFC 7636, method S256). With a loopback redirect TikTok assumes a desktop app, for which it
    expects the hash in hexadecimal: https://developers.tiktok.com/doc/login-kit-desktop."""
    verifier = secrets.token_urlsafe(48)
    hashed = hashlib.sha256(verifier.encode())
    if urlsplit(redirect_uri).hostname in DESKTOP_HOSTS:
        return PkcePair(verifier, hashed.hexdigest())
    return PkcePair(verifier, base64.urlsafe_b64encode(hashed.digest()).rstrip(b"=").decode())


class TikTokOAuth:
    """Raises NeedsReconnect if the person must connect again, VendorRefused if our settings are wrong."""

    def __init__(
        self, client_key: str | None, client_secret: str | None, redirect_uri: str, auth_url: str, api_url: str
    ) -> None:
        self.redirect_uri = redirect_uri
        self._client_key = client_key
        self._client_secret = client_secret
        self._auth_url = auth_url
        self._api_url = api_url

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        secret = settings.tiktok_client_secret
        return cls(
            settings.tiktok_client_key,
            secret.get_secret_value() if secret else None,
            settings.tiktok_redirect_uri or settings.public_url + CALLBACK_PATH,
            settings.tiktok_auth_url,
            settings.tiktok_api_url,
        )

    @property
    def configured(self) -> bool:
        return bool(self._client_key and self._client_secret)

    def authorize_url(self, state: str, code_challenge: str) -> str:
        """Return the address for the consent. TikTok redirects back to `redirect_uri` with `code` and `state`."""
        query = {
            "client_key": self._credentials()["client_key"],
            "scope": SCOPES,
            "response_type": "code",
            "redirect_uri": self.redirect_uri,
            "state": state,
            "code_challenge": code_challenge,
            "code_challenge_method": "S256",
        }
        return f"{self._auth_url.rstrip('/')}/?{urlencode(query)}"

    async def exchange(self, code: str, verifier: str) -> GrantedTokens:
        """Return the tokens for the code of a callback; a code works once."""
        return await self._tokens(
            grant_type="authorization_code", code=code, redirect_uri=self.redirect_uri, code_verifier=verifier
        )

    async def refresh(self, refresh_token: str) -> GrantedTokens:
        """Return new tokens. Store both, because the refresh token may be a new one too.

        Never retried here: if the answer was lost, the old refresh token may already be used up.
        """
        return await self._tokens(grant_type="refresh_token", refresh_token=refresh_token)

    async def revoke(self, access_token: str) -> None:
        """Revoke our access. A token that is no longer valid raises NeedsReconnect or AccessTokenRefused."""
        await self._token_call("/v2/oauth/revoke/", {"token": access_token})

    async def user_info(self, access_token: str) -> dict[str, Any]:
        """Return the person's own profile, in TikTok's field names; see `services.tiktok.profiles.read_own_profile`."""
        data = await self._data_call("GET", f"/v2/user/info/?{urlencode({'fields': USER_FIELDS})}", access_token)
        user = data.get("user")
        if not isinstance(user, dict):
            raise UnreadableAnswer(VENDOR, "user/info without a user")
        return user

    async def videos(self, access_token: str, limit: int = MAX_POSTS) -> list[dict[str, Any]]:
        """Return the person's newest public videos, at most `limit`, in TikTok's field names."""
        path = f"/v2/video/list/?{urlencode({'fields': VIDEO_FIELDS})}"
        found: list[dict[str, Any]] = []
        cursor: int | None = None
        for _ in range(MAX_PAGES):
            page: dict[str, Any] = {"max_count": min(PAGE_SIZE, limit - len(found))}
            if cursor is not None:
                page["cursor"] = cursor
            data = await self._data_call("POST", path, access_token, page)
            videos = data.get("videos") or []
            if not isinstance(videos, list):
                raise UnreadableAnswer(VENDOR, "video/list without a list")
            found += [video for video in videos if isinstance(video, dict)]
            previous, cursor = cursor, data.get("cursor")
            if not data.get("has_more") or len(found) >= limit or not isinstance(cursor, int) or cursor == previous:
                break
        return found[:limit]

    async def close(self) -> None:
        if "_http" in self.__dict__:
            self._http.close()

    @cached_property
    def _http(self) -> SimpleAsyncHTTPClient:
        # Created on first use, because it belongs to the event loop that runs then.
        return SimpleAsyncHTTPClient(
            force_instance=True,
            max_clients=MAX_CALLS,
            max_body_size=MAX_ANSWER_BYTES,
            max_buffer_size=2 * MAX_ANSWER_BYTES,
        )

    def _credentials(self) -> dict[str, str]:
        if not (self._client_key and self._client_secret):
            raise NotConfigured(VENDOR, "TIKTOK_CLIENT_KEY and TIKTOK_CLIENT_SECRET are not set")
        return {"client_key": self._client_key, "client_secret": self._client_secret}

    async def _tokens(self, **grant: str) -> GrantedTokens:
        try:
            return GrantedTokens.model_validate(await self._token_call("/v2/oauth/token/", grant))
        except ValidationError as error:
            raise UnreadableAnswer(VENDOR, f"tokens: {error}") from None

    async def _token_call(self, path: str, form: dict[str, str]) -> dict[str, Any]:
        response = await self._fetch(
            HTTPRequest(
                self._api_url + path,
                method="POST",
                headers={"Content-Type": "application/x-www-form-urlencoded"},
                body=urlencode(self._credentials() | form),
            )
        )
        # Revoking answers with an empty body, or with {}.
        answer = read_object(response) if response.body or response.code >= 400 else {}
        code = answer.get("error")
        if code and not isinstance(code, dict):
            detail = f"{path} {response.code} {code}: {answer.get('error_description')}"
            raise (NeedsReconnect if str(code) in GRANT_IS_GONE else VendorRefused)(VENDOR, detail)
        raise_for_code(path, response.code, code)
        return answer

    async def _data_call(
        self, method: str, path: str, token: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        self._credentials()
        response = await self._fetch(
            HTTPRequest(
                self._api_url + path,
                method=method,
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
                body=orjson.dumps(body) if body is not None else None,
            )
        )
        answer = read_object(response)
        raise_for_code(path, response.code, answer.get("error"))
        data = answer.get("data")
        if not isinstance(data, dict):
            raise UnreadableAnswer(VENDOR, f"{path} without data")
        return data

    async def _fetch(self, request: HTTPRequest) -> HTTPResponse:
        request.connect_timeout = CONNECT_SECONDS
        request.request_timeout = ANSWER_SECONDS
        request.follow_redirects = False  # a redirect would send the secret to another host
        request.decompress_response = False  # so that MAX_ANSWER_BYTES bounds the memory, not the compressed size
        try:
            with vendor_call(VENDOR) as call:
                response = await self._http.fetch(request, raise_error=False)
                call.answered(response.code)
        except HTTPTimeoutError as error:
            raise VendorTimeout(VENDOR, str(error)) from None
        except (HTTPStreamClosedError, HTTPError, UnsatisfiableReadError, OSError) as error:
            raise VendorUnreachable(VENDOR, f"{type(error).__name__}: {error}") from None
        if response.code == 429:
            raise VendorRateLimited(VENDOR, "429", retry_after=read_retry_after(response))
        if response.code >= 500:
            raise VendorUnavailable(VENDOR, f"{response.code} {response.reason}")
        return response


def read_object(response: HTTPResponse) -> dict[str, Any]:
    try:
        answer = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        raise UnreadableAnswer(VENDOR, f"{response.code} without a JSON object")
    return answer


def raise_for_code(path: str, status: int, error: Any) -> None:
    """Raise the error of a data call. `{code: 'ok'}` means success."""
    code = str(error["code"]) if isinstance(error, dict) and "code" in error else ""
    if code == "ok" or (not error and status < 400):
        return
    detail = f"{path} {status} {code}: {error.get('message') if isinstance(error, dict) else error}"
    raise error_for(code, status)(VENDOR, detail)


def error_for(code: str, status: int) -> type[VendorError]:
    if code in SCOPE_IS_MISSING:
        return NeedsReconnect
    if code == "access_token_invalid" or (status == 401 and not code):
        return AccessTokenRefused
    if code == "rate_limit_exceeded":
        return VendorRateLimited
    if code == "internal_error" or status < 400:
        return VendorUnavailable
    return VendorRefused


def read_retry_after(response: HTTPResponse) -> float | None:
    text = response.headers.get("Retry-After", "")
    return min(float(text), MAX_RETRY_AFTER) if text.isdecimal() else None
