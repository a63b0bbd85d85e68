"""Fetch pictures of social networks for browsers. Other hosts are refused, against server-side request forgery.

The name is resolved once, all its addresses must be public, and the connection goes to one of those addresses. So
a name that later resolves to a private address gives no access to it. TLS verifies the certificate of the name.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import cast
from urllib.parse import urljoin, urlsplit

import h11

from db.error_codes import ErrorCode
from db.errors import BadRequest
from services.errors import UnreadableAnswer, VendorError, VendorTimeout, VendorUnreachable
from services.files.images import SNIFF_BYTES, sniff
from services.metrics import vendor_call
from services.slots import Slots, SlotsPerOwner

MAX_URL_CHARS = 4096  # addresses of the networks have long signatures, of up to about 1,000 characters
MAX_BYTES = 10 * 1024 * 1024
TOTAL_SECONDS = 10.0
CONNECT_SECONDS = 3.0  # for each address, so that unreachable IPv6 leaves time for IPv4
MAX_REDIRECTS = 3
MAX_ADDRESSES = 4  # of a name that are tried
MAX_HEADER_BYTES = 16 * 1024
MAX_INTERIM_ANSWERS = 10  # responses of status 1xx before the final one
READ_BYTES = 32 * 1024
MAX_CHUNKS = 10_000  # chunks of the body; each costs the event loop time, and normal hosts send at least 1 KB in each
HTTPS_PORT = 443

VENDOR = "image host"
RELAYED_TYPES = {"image/jpeg", "image/png", "image/webp", "image/gif", "image/avif"}
REDIRECTS = {301, 302, 303, 307, 308}
# Resolving blocks a thread until DNS answers, so it has its own threads.
RESOLVER_THREADS = 4

# DNS names. The last label starts with a letter, because some resolvers read 2130706433 or 0x7f.1 as addresses.
HOSTNAME = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")
URL_CHARACTERS = re.compile(r"[!-~]+")  # printable ASCII; URL parsers disagree about other characters
# `is_global` of Python 3.11 accepts these, but they can lead to private hosts: protocol assignments, 6to4 relays.
INNER_IPV4 = [IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24")]
# Only 2000::/3 is assigned. Refused in it: Teredo and its neighbours, documentation, 6to4 (wraps any IPv4 address).
OUTER_IPV6 = IPv6Network("2000::/3")
INNER_IPV6 = [
    IPv6Network("2001::/23"),
    IPv6Network("2001:db8::/32"),
    IPv6Network("2002::/16"),
    IPv6Network("3fff::/20"),
]

Address = IPv4Address | IPv6Address
Resolve = Callable[[str], Awaitable[list[Address]]]


class UrlRefused(BadRequest):
    """The proxy does not fetch this URL."""

    code: ErrorCode = "URL_REFUSED"


class NotAnImage(VendorError):
    """The host answered, but not with an image that may be relayed (502)."""

    error = "This is not a picture"
    message = "This address does not lead to a picture that can be shown. Please use another picture."


@dataclass(frozen=True, slots=True)
class RemoteImage:
    """An image that is being received: its media type by content, its length in bytes if announced, and its chunks."""

    content_type: str
    length: int | None
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Target:
    host: str
    path: str  # with the query

    @property
    def url(self) -> str:
        return f"https://{self.host}{self.path}"


class ImageProxy:
    """Use `async with proxy.open(url, ip) as image:` and relay `image.chunks`. Leaving the block ends the connection.

    `resolve`, `is_public`, `tls` and `port` are there for tests; the defaults are strict.
    """

    def __init__(
        self,
        hosts: Iterable[str],
        *,
        resolve: Resolve | None = None,
        is_public: Callable[[Address], bool] | None = None,
        tls: ssl.SSLContext | None = None,
        port: int = HTTPS_PORT,
    ) -> None:
        self._hosts = tuple(host for host in (host.strip().strip(".").lower() for host in hosts) if host)
        self._executor = ThreadPoolExecutor(RESOLVER_THREADS, "image-proxy-dns")
        self._resolve = resolve or self._ask_dns
        self._is_public = is_public or is_public_address
        self._tls = tls or ssl.create_default_context()
        self._port = port
        # A page of a browser asks for dozens at once; each holds a connection and some 200 KB.
        self._slots = Slots(running=32, waiting=256)
        # A visitor who reads nothing holds images for TOTAL_SECONDS, so each visitor gets at most this many.
        self._visitor_slots = SlotsPerOwner(running=8, waiting=64)

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def open(self, url: str, visitor: str = "") -> AsyncIterator[RemoteImage]:
        """Open the image. Raises UrlRefused, Busy, or a VendorError: NotAnImage, VendorTimeout and so on.

        `visitor` identifies the visitor, whose simultaneous images are bounded.

        TOTAL_SECONDS bound everything until the block is left, including the reading by a slow client.
        A VendorError during `chunks` means that the image is incomplete: abort the response.
        """
        target = self._check(url)
        try:
            async with (
                asyncio.timeout(TOTAL_SECONDS),
                self._visitor_slots.take(visitor),
                self._slots.take(),
                self._follow(target) as image,
            ):
                yield image
        except TimeoutError:
            raise VendorTimeout(VENDOR, target.host) from None

    def _check(self, url: str) -> Target:
        """Return the URL's parts. Raises UrlRefused unless it is https to a listed host, without port or user."""
        if len(url) > MAX_URL_CHARS or not URL_CHARACTERS.fullmatch(url) or "\\" in url:
            raise UrlRefused("The picture's address is malformed. Please check it.")
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
        except ValueError:
            raise UrlRefused("The picture's address is malformed. Please check it.") from None
        if parts.scheme != "https":
            raise UrlRefused("The picture's address must start with https://.")
        if parts.netloc.lower() not in (
            host,
            f"{host}:",
            f"{host}:{HTTPS_PORT}",
        ):
            raise UrlRefused("The picture's address must contain a host, but no user and no port.")
        if not HOSTNAME.fullmatch(host) or not any(host == name or host.endswith(f".{name}") for name in self._hosts):
            raise UrlRefused("Pictures of this host are not relayed. Please use an address of Instagram or TikTok.")
        query = f"?{parts.query}" if parts.query else ""
        return Target(host, (parts.path or "/") + query)

    @asynccontextmanager
    async def _follow(self, target: Target) -> AsyncIterator[RemoteImage]:
        for _ in range(MAX_REDIRECTS + 1):
            async with AsyncExitStack() as stack:
                with vendor_call("images") as call:
                    exchange = await stack.enter_async_context(self._connect(target))
                    response = await exchange.ask(target)
                    call.answered(response.status_code)
                if response.status_code in REDIRECTS:
                    target = self._redirected(target, response)
                    continue
                yield await exchange.image(response)
                return
        raise VendorError(VENDOR, f"{target.host}: too many redirects")

    def _redirected(self, target: Target, response: h11.Response) -> Target:
        location = header(response, b"location")
        if location is None:
            raise VendorError(VENDOR, f"{target.host}: redirect to nowhere")
        try:
            return self._check(urljoin(target.url, location))
        except ValueError:
            raise VendorError(VENDOR, f"{target.host}: malformed redirect") from None

    @asynccontextmanager
    async def _connect(self, target: Target) -> AsyncIterator["Exchange"]:
        reader, writer = await self._connect_to_any(target.host, await self._addresses(target.host))
        try:
            yield Exchange(reader, writer, target.host)
        finally:
            writer.transport.abort()  # a host that does not read must not delay closing

    async def _addresses(self, host: str) -> list[Address]:
        try:
            addresses = await self._resolve(host)
        except OSError as error:
            raise VendorUnreachable(VENDOR, f"{host}: {error}") from None
        if not addresses or not all(self._is_public(address) for address in addresses):
            raise UrlRefused("Pictures of this host are not relayed. Please use an address of Instagram or TikTok.")
        return addresses[:MAX_ADDRESSES]

    async def _connect_to_any(
        self, host: str, addresses: list[Address]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        failure = VendorUnreachable(VENDOR, host)
        for address in addresses:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await asyncio.open_connection(
                        str(address), self._port, ssl=self._tls, server_hostname=host, limit=READ_BYTES
                    )
            except OSError as error:  # refused, timed out, or not the certificate of this name
                failure = VendorUnreachable(VENDOR, f"{host} at {address}: {error!r}")
        raise failure

    async def _ask_dns(self, host: str) -> list[Address]:
        def ask() -> list[Address]:
            answers = socket.getaddrinfo(host, self._port, type=socket.SOCK_STREAM)
            return [ip_address(answer[4][0]) for answer in answers]

        return await asyncio.get_running_loop().run_in_executor(self._executor, ask)


class Exchange:
    """One request and its response on its own connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader, self._writer, self._host = reader, writer, host
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER_BYTES)

    async def ask(self, target: Target) -> h11.Response:
        headers = [
            ("Host", target.host),
            ("Accept", "image/avif,image/webp,image/*"),
            ("Accept-Encoding", "identity"),
            ("User-Agent", "Mozilla/5.0 (compatible; BeautifulEncer)"),
            ("Connection", "close"),
        ]
        request = h11.Request(method="GET", target=target.path, headers=headers)
        self._writer.write((self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b""))
        for _ in range(MAX_INTERIM_ANSWERS + 1):
            response = await self._next_event()
            if not isinstance(response, h11.InformationalResponse):
                break
        if not isinstance(response, h11.Response):
            raise VendorError(VENDOR, f"{self._host}: no answer")
        return response

    async def image(self, response: h11.Response) -> RemoteImage:
        """Return the image of the response. Its first bytes have been read, because they decide its media type."""
        if response.status_code != 200:
            raise VendorError(VENDOR, f"{self._host}: status {response.status_code}")
        if (header(response, b"content-encoding") or "identity").lower() != "identity":
            raise NotAnImage(VENDOR, f"{self._host}: compressed although not asked to")
        announced = header(response, b"content-length")
        length = int(announced) if announced else None  # h11 has validated the number
        if length is not None and length > MAX_BYTES:
            raise NotAnImage(VENDOR, f"{self._host}: {length} bytes")
        body = self._body()
        head = b""
        async for chunk in body:
            head += chunk
            if len(head) >= SNIFF_BYTES:
                break
        content_type = sniff(head)
        if content_type not in RELAYED_TYPES:
            raise NotAnImage(VENDOR, f"{self._host}: {header(response, b'content-type')}, begins with {head[:16]!r}")
        return RemoteImage(content_type, length, chain(head, body))

    async def _body(self) -> AsyncIterator[bytes]:
        received = chunks = 0
        while isinstance(event := await self._next_event(), h11.Data):
            received += len(event.data)
            chunks += 1
            if received > MAX_BYTES or chunks > MAX_CHUNKS:
                raise NotAnImage(VENDOR, f"{self._host}: more than {received} bytes in {chunks} chunks")
            yield bytes(event.data)

    async def _next_event(self) -> h11.Event:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                await asyncio.sleep(0)  # `read` does not yield while data is buffered
                self._http.receive_data(await self._reader.read(READ_BYTES))
        except (h11.RemoteProtocolError, OSError) as error:
            raise UnreadableAnswer(VENDOR, f"{self._host}: {error!r}") from None
        return cast(h11.Event, event)


async def chain(head: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    async for chunk in rest:
        yield chunk


def header(response: h11.Response, name: bytes) -> str | None:
    values = [value for key, value in response.headers if key == name]
    return values[0].decode("latin-1").strip() if values else None


def is_public_address(address: Address) -> bool:
    """Return whether the address is public, and contains no private IPv4 address."""
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast and not any(address in net for net in INNER_IPV4)
    return address in OUTER_IPV6 and not any(address in net for net in INNER_IPV6)
