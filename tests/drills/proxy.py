"""A TCP proxy on loopback that can cut, delay, freeze or refuse connections."""

import asyncio
from contextlib import suppress

CHUNK_BYTES = 64 * 1024


class TcpProxy:
    """Listens on 127.0.0.1:`port` and relays to `target`: (host, port), or the path of a Unix socket."""

    def __init__(self, target: tuple[str, int] | str) -> None:
        self.target = target
        self.port = 0
        self.delay_seconds = 0.0
        self.flowing = asyncio.Event()  # while it is not set, bytes wait in the proxy
        self.flowing.set()
        self.refusing = False
        self.links: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self.tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> "TcpProxy":
        self.server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=CHUNK_BYTES)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        self.server.close()
        self.cut()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def refuse(self) -> None:
        """Close all connections and accept no new ones, like a server that is down."""
        self.refusing = True
        self.cut()

    def cut(self) -> None:
        """Reset every connection, and accept new ones."""
        for link in list(self.links):
            for writer in link:
                writer.transport.abort()

    def freeze(self) -> None:
        """Keep all bytes back without closing connections, like a network that has failed."""
        self.flowing.clear()

    def delay(self, seconds: float) -> None:
        """Delay all bytes from now on by this many seconds."""
        self.delay_seconds = seconds

    def restore(self) -> None:
        """Relay all bytes again at once, and accept connections."""
        self.delay_seconds = 0.0
        self.refusing = False
        self.flowing.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        if self.refusing:
            writer.transport.abort()
            return
        try:
            await self.flowing.wait()
            far_reader, far_writer = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        link = (writer, far_writer)
        self.links.add(link)
        try:
            await asyncio.gather(self._relay(reader, far_writer), self._relay(far_reader, writer))
        finally:
            self.links.discard(link)
            for end in link:
                end.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.target, str):
            return await asyncio.open_unix_connection(self.target, limit=CHUNK_BYTES)
        return await asyncio.open_connection(*self.target, limit=CHUNK_BYTES)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                await self.flowing.wait()
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                writer.write(chunk)
                await writer.drain()
        with suppress(OSError, RuntimeError):
            writer.write_eof()
