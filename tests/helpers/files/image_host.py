"""A TLS server with pictures of a social network, for the image proxy."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from ipaddress import ip_address

from services.files.image_proxy import ImageProxy
from tests.helpers.servers.tls import Authority

LOOPBACK = ip_address("127.0.0.1")

HOST = "scontent.cdninstagram.com"
URL = f"https://{HOST}/v/t51.jpg?stp=dst-jpg&_nc_ht={HOST}"
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 40
IMAGES = {
    "image/jpeg": JPEG,
    "image/png": b"\x89PNG\r\n\x1a\n" + b"p" * 100,
    "image/gif": b"GIF89a" + b"g" * 100,
    "image/webp": b"RIFF\x64\0\0\0WEBPVP8 " + b"w" * 100,
    "image/avif": b"\0\0\0\x20ftypavif" + b"a" * 100,
}

Script = Callable[["Visit"], Awaitable[None]]


def answer(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Visit:
    """One connection to the host: its request, and methods to answer it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.request = b""
        self.ended = asyncio.Event()

    @property
    def path(self) -> str:
        return self.request.split(b" ", 2)[1].decode()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await asyncio.sleep(0)  # `drain` of a connection that has just closed neither waits nor raises
        await self.writer.drain()

    async def wait_for_end(self) -> None:
        with suppress(OSError):
            await self.reader.read()


class Host:
    """A TLS server for `*.cdninstagram.com` whose answers the test sets."""

    def __init__(self, authority: Authority) -> None:
        self.script: Script = lambda visit: visit.send(answer(JPEG))
        self.visits: list[Visit] = []
        self.serving: list[asyncio.Task[None]] = []
        self.names: list[str | None] = []  # the names that SNI requested
        self.tls = authority.server("*.cdninstagram.com", "cdninstagram.com")
        self.tls.sni_callback = lambda connection, name, context: self.names.append(name)

    async def start(self) -> None:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self.server.close()
        for task in self.serving:
            task.cancel()
        await asyncio.gather(*self.serving, return_exceptions=True)
        for visit in self.visits:
            visit.writer.transport.abort()

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.serving.append(asyncio.ensure_future(self.play(reader, writer)))

    async def play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = Visit(reader, writer)
        self.visits.append(visit)
        with suppress(OSError, asyncio.IncompleteReadError):
            visit.request = await reader.readuntil(b"\r\n\r\n")
            await self.script(visit)
        with suppress(OSError):
            writer.close()
            await writer.wait_closed()
        visit.ended.set()


async def fetch(proxy: ImageProxy, url: str = URL) -> tuple[str, bytes]:
    async with proxy.open(url) as image:
        return image.content_type, b"".join([chunk async for chunk in image.chunks])


def sends(*parts: bytes) -> Script:
    async def script(visit: Visit) -> None:
        for part in parts:
            await visit.send(part)

    return script
