"""REST calls: sign-in, retries of calls that may be repeated, typed errors."""

import asyncio
import json
import random
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx

from .errors import (
    MAY_PASS,
    CertificateRefused,
    Closed,
    EncerError,
    Invalid,
    NotSignedIn,
    Unavailable,
    Unreachable,
    WrongServer,
    WrongVersion,
    error_of,
)
from .tokens import Session, TokenStore
from .types import Attachment

SERVER_MAJOR = 0  # of the version that /health returns
ANSWER_SECONDS = 10.0
CONNECTIONS = 10  # at once; further calls wait for one of them
REFRESH_SECONDS = 3.0
UPLOAD_SECONDS = 90.0  # the server may take 75 for a large picture
TRIES = 4  # of a call that may be repeated
FIRST_PAUSE = 0.3
LONGEST_WAIT = 30.0  # for a Retry-After; after a longer one, the caller decides
REPEATABLE = ("GET", "PUT", "PATCH", "DELETE")
UPLOAD_CHUNK = 64 * 1024


# Without a user, a query or a fragment, to which no path could be added.
BASE = re.compile(r"https?://[^\s\x00-\x20\x7f/?#@\\]+(/[^\s\x00-\x20\x7f?#\\]*)?", re.IGNORECASE | re.ASCII)


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Rest:
    def __init__(self, base_url: str, store: TokenStore, verify: ssl.SSLContext | bool = True) -> None:
        self.base_url = normal_base(base_url)
        self.http = httpx.AsyncClient(verify=verify, limits=httpx.Limits(max_connections=CONNECTIONS))
        self.session = Session(store, self._refresh)

    async def close(self) -> None:
        await self.session.close()
        await self.http.aclose()

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        params: dict[str, Any] | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> Any:
        """Call the REST API: `await encer.call("GET", "/chat/contacts")` returns the answer's JSON.

        Calls that may be repeated are tried up to four times. `seconds` is the time for a token, and for an answer;
        connecting a social account may take 100."""
        method = method.upper()
        tries = TRIES if method in REPEATABLE else 1
        while True:
            tries -= 1
            try:
                return await self._signed(method, path, json=body, params=params, seconds=seconds)
            except MAY_PASS as error:
                wait = error.retry_after or FIRST_PAUSE * 2 ** (TRIES - 1 - tries) * (1 + random.random())
                if tries <= 0 or wait > LONGEST_WAIT:
                    raise
                await asyncio.sleep(wait)

    async def upload(
        self, conversation_id: str, file: bytes | Readable, name: str, progress: Callable[[int], object] | None
    ) -> Attachment:
        """Upload a picture or PDF. `progress` gets the number of bytes that were sent. Cancel the task to stop."""
        form = Form(file, name)
        answer = await self._signed(
            "POST",
            f"/chat/conversations/{conversation_id}/attachments",
            seconds=UPLOAD_SECONDS,
            content=form.stream(progress),
            headers={"Content-Type": form.content_type},
        )
        attachment: Attachment = data_of(answer, dict, self.base_url)
        return attachment

    async def sign_in(self, email: str, password: str) -> dict[str, Any]:
        """Store the tokens and return the user. Raises WrongServer if the answer has no tokens or no user."""
        answer = await self.send("POST", "/auth/login", json={"email": email, "password": password})
        data = data_of(answer, dict, self.base_url)
        user: Any = data.get("user")
        if not isinstance(user, dict) or not isinstance(user.get("id"), str):
            raise not_here(self.base_url)
        self.session.keep(data)
        return user

    async def check_server(self) -> str:
        """Return the server's version. Raises WrongServer or WrongVersion."""
        health = await self._json(await self._request("GET", f"{self.base_url}/health"))
        version = health.get("version") if isinstance(health, dict) else None
        if not isinstance(version, str) or health.get("status") != "ok":
            raise not_here(self.base_url)
        if version.partition(".")[0] != str(SERVER_MAJOR):
            raise WrongVersion(
                f"The server has version {version}; this client works with {SERVER_MAJOR}.x. Update the client."
            )
        return version

    async def send(self, method: str, path: str, **options: Any) -> Any:
        return await self._json(await self._request(method, f"{self.base_url}/api/v1{path}", **options))

    async def _signed(self, method: str, path: str, *, seconds: float, **options: Any) -> Any:
        refused, given = None, options.pop("headers", {})
        options["seconds"] = seconds
        while True:
            token = await self._token(refused, seconds)
            try:
                return await self.send(method, path, headers={**given, "Authorization": f"Bearer {token}"}, **options)
            except NotSignedIn:  # nothing was done; a stream cannot be sent twice
                if refused is not None or "content" in options:
                    raise
                refused = token

    async def _token(self, refused: str | None, seconds: float) -> str:
        """Return an access token, within the time of a request. A refresh continues without it."""
        if self.http.is_closed:
            raise Closed("The client is closed.")
        try:
            async with asyncio.timeout(seconds):
                return await self.session.token(refused)
        except TimeoutError:
            late = f"{self.base_url} has not renewed the tokens within {seconds:.0f} s. Check the network."
            raise Unreachable(late) from None

    async def _refresh(self, refresh_token: str) -> dict[str, Any]:
        """Refresh the tokens. Retry at once without an answer: the server accepts the token for ten more seconds."""
        for tries_left in reversed(range(TRIES)):
            try:
                answer = await self.send(
                    "POST", "/auth/refresh", json={"refreshToken": refresh_token}, seconds=REFRESH_SECONDS
                )
                pair: dict[str, Any] = data_of(answer, dict, self.base_url)
                return pair
            except (Unreachable, Unavailable):
                if not tries_left:
                    raise
                await asyncio.sleep(FIRST_PAUSE)
        raise AssertionError("the loop returns or raises")

    async def _request(self, method: str, url: str, seconds: float = ANSWER_SECONDS, **options: Any) -> httpx.Response:
        if self.http.is_closed:
            raise Closed("The client is closed.")
        try:
            async with asyncio.timeout(seconds):  # for the whole answer; a timeout of httpx is for a piece of it
                return await self.http.request(method, url, timeout=seconds, **options)
        except TimeoutError:
            raise Unreachable(f"{self.base_url} has not answered within {seconds:.0f} s. Check the network.") from None
        except httpx.InvalidURL:  # the path has a control character, for example
            raise Invalid("The path is not valid in a URL. Check the ids in it.") from None
        except httpx.HTTPError as error:
            raise explain(error, self.base_url) from error

    async def _json(self, response: httpx.Response) -> Any:
        try:
            body = response.json()
        except ValueError:
            body = None
        if response.is_success:
            if body is None:
                raise not_here(self.base_url)
            return body
        error = error_of(body, response.status_code)
        is_page = isinstance(error, WrongServer)
        if is_page and (response.status_code >= 500 or response.status_code in (408, 429)):  # of a proxy
            error = Unavailable("The server is not ready. Try again in a moment.", status=response.status_code)
        error.retry_after = error.retry_after or retry_after_of(response.headers)
        raise error


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    seconds = headers.get("Retry-After", "")
    return float(seconds) if seconds.isdecimal() else None


def not_here(base_url: str, status: int | None = None) -> WrongServer:
    return WrongServer(f"There is no Beautiful Encer server at {base_url}. Check the base URL.", status=status)


def data_of(answer: Any, kind: type, base_url: str) -> Any:
    """Return the `data` of an answer. Raises WrongServer if it is of another type."""
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, kind):
        raise not_here(base_url)
    return data


def normal_base(text: str) -> str:
    """Return a base URL without its last slashes. Raises WrongServer if it cannot lead to a server."""
    try:
        parts = urlsplit(text)
        if BASE.fullmatch(text) and parts.hostname and parts.port != 0:
            parts.hostname.encode("idna")  # as resolving the name does
            url = httpx.URL(text)
            if url.host:  # raises an error for a name that is not valid in punycode
                return str(url).rstrip("/")
    except (ValueError, httpx.InvalidURL):
        pass
    raise WrongServer(f"{json.dumps(text, ensure_ascii=False)} is not a base URL. Write it as https://api.example.com.")


def explain(error: BaseException, base_url: str) -> EncerError:
    """Return the typed error of a failed connection: the certificate, or the network."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return CertificateRefused(
                f"The certificate of {base_url} is not accepted: {seen.verify_message}. Check the base URL."
            )
        if isinstance(seen, ssl.SSLError) and seen.reason == "WRONG_VERSION_NUMBER":  # others may pass, such as a cut
            return WrongServer(f"{base_url} does not answer with TLS. Check the base URL.")
        seen = seen.__cause__ or seen.__context__
    return Unreachable(f"{base_url} does not answer. Check the network and the base URL.")


class Form:
    """A multipart body with one file, sent in pieces."""

    BOUNDARY = "encer-7d1f0c9a5b3e4862"
    content_type = f"multipart/form-data; boundary={BOUNDARY}"

    def __init__(self, file: bytes | Readable, name: str) -> None:
        for char, escape in (('"', "%22"), ("\r", "%0D"), ("\n", "%0A")):  # as browsers do
            name = name.replace(char, escape)
        self.file = file
        self.head = (
            f'--{self.BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        self.tail = f"\r\n--{self.BOUNDARY}--\r\n".encode()

    async def stream(self, progress: Callable[[int], object] | None) -> AsyncIterator[bytes]:
        yield self.head
        sent = 0
        for chunk in self._chunks():
            yield chunk
            sent += len(chunk)
            if progress:
                progress(sent)
        yield self.tail

    def _chunks(self) -> Iterator[bytes]:
        if isinstance(self.file, bytes):
            for start in range(0, len(self.file), UPLOAD_CHUNK):
                yield self.file[start : start + UPLOAD_CHUNK]
        else:
            while chunk := self.file.read(UPLOAD_CHUNK):
                yield chunk
