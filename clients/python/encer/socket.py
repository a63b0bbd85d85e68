"""One signed-in WebSocket: frames with answers, pings, a bound on what is sent and awaited."""

import asyncio
import itertools
import json
import ssl
import time
from collections.abc import Callable
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from .errors import Closed, EncerError, OriginRefused, TooLarge, Unreachable, WrongServer, error_of
from .rest import explain, not_here, retry_after_of

PROTOCOL = "encer.v1"
OPEN_SECONDS = 5.0  # for the handshake, and again for `ready`
ANSWER_SECONDS = 10.0  # for a command; the server needs milliseconds
PONG_SECONDS = 5.0
HEARTBEAT_MS = (1_000, 60_000)  # the least and most that the server may request
CLOSE_SECONDS = 1.0
MAX_FRAME_BYTES = 64 * 1024  # that the server accepts
MAX_READ_BYTES = 1024 * 1024
OTHER_PROTOCOL = "The server sends frames of another protocol. Check the base URL."
# Of reading a frame without its fields.
MALFORMED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
PENDING = 500  # commands that wait for their answer: 100 conversations, with several each
# The server allows 20 frames a second, and 60 at once (docs/realtime.md); this stays below.
FRAMES_PER_SECOND, FRAMES_AT_ONCE = 16.0, 50


def check_numbers(*values: Any) -> None:
    """Refuse a frame in which one of these is not a number, with one of MALFORMED."""
    if not all(isinstance(value, int) for value in values):
        raise TypeError("The server sent no number.")


class Pace:
    """Delays frames to stay below the server's limit."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate, self.burst = rate, burst
        self.left, self.at = float(burst), time.monotonic()

    def wait(self) -> float:
        """Count a frame; return the seconds to wait before it may be sent."""
        now = time.monotonic()
        self.left = min(self.burst, self.left + (now - self.at) * self.rate) - 1
        self.at = now
        return max(0.0, -self.left / self.rate)


class Socket:
    """Open it with `open`, then `run` until it closes."""

    def __init__(self, ws: ClientConnection, pace: Pace) -> None:
        self.ws = ws
        self.pace = pace
        self.numbers = itertools.count(1)
        self.answers: dict[int, tuple[asyncio.Future[Any], Callable[[Any], object] | None]] = {}
        self.closed = False

    @classmethod
    async def open(cls, base_url: str, token: str, tls: ssl.SSLContext | None, pace: Pace) -> "Socket":
        """Open a socket. Raises a typed error, which determines whether the client retries."""
        url = "ws" + base_url.removeprefix("http") + "/ws"
        options: dict[str, Any] = {"ssl": tls} if tls and url.startswith("wss") else {}
        try:
            ws = await connect(
                url,
                subprotocols=[Subprotocol(PROTOCOL), Subprotocol(f"bearer.{token}")],
                compression=None,
                ping_interval=None,
                open_timeout=OPEN_SECONDS,
                close_timeout=CLOSE_SECONDS,
                max_size=MAX_READ_BYTES,
                max_queue=64,
                **options,
            )
        except websockets.InvalidStatus as refusal:
            raise refused_upgrade(refusal, base_url) from refusal
        except (websockets.InvalidHandshake, websockets.InvalidURI, websockets.InvalidMessage) as error:
            if isinstance(error.__cause__, EOFError | OSError):  # the connection was cut meanwhile
                raise Unreachable(f"{base_url} does not answer. Check the network.") from error
            raise not_here(base_url) from error
        except (OSError, TimeoutError, EOFError) as error:
            raise explain(error, base_url) from error
        return cls(ws, pace)

    async def ready(self) -> dict[str, Any] | None:
        """Return the data of `ready`, the first frame; None when the socket is closed before it."""
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                first = await self.read()
        except TimeoutError:
            raise Unreachable("The server opened a socket but sent nothing. Check the network.") from None
        if first and first[0] != "ready":
            raise WrongServer(OTHER_PROTOCOL)
        return first and first[1]

    async def read(self) -> tuple[str, Any] | None:
        """Return the next event that is not an answer; None when the socket is closed.

        Raises WrongServer or one of MALFORMED for a frame of another protocol."""
        while True:
            try:
                text = await self.ws.recv()
            except (websockets.ConnectionClosed, OSError):
                return None
            frame = json.loads(text)
            event, data = frame["event"], frame["data"]
            if not isinstance(event, str) or not isinstance(data, dict):
                raise WrongServer(OTHER_PROTOCOL)
            if "id" not in frame:
                return event, data
            self._answer(frame)

    def _answer(self, frame: dict[str, Any]) -> None:
        future, then = self.answers.pop(frame["id"], (None, None))
        if future is None or future.done():
            return
        if frame["event"] == "error":
            future.set_exception(error_of(frame["data"]))
        else:
            if then:
                then(frame["data"])  # before the next frame is read
            future.set_result(frame["data"])

    async def ask(
        self,
        event: str,
        data: Any = None,
        then: Callable[[Any], object] | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> Any:
        """Send a command and return the data of its answer; `then` gets it before later events are read.

        Raises the server's error, or Closed. A socket that does not answer in time is dead, so it is dropped."""
        if self.closed or len(self.answers) >= PENDING:
            raise Closed("The socket is closed.")
        number = next(self.numbers)
        future = asyncio.get_running_loop().create_future()
        # The socket may close before this call awaits the future; asyncio logs errors that nothing retrieves.
        future.add_done_callback(lambda answer: answer.cancelled() or answer.exception())
        self.answers[number] = (future, then)
        try:
            await self.send(event, data, number)
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            self.drop()
            raise Closed("The socket was closed before the answer arrived.") from None
        finally:
            self.answers.pop(number, None)

    async def send(self, event: str, data: Any = None, id: int | None = None) -> None:
        """Send a frame."""
        frame = json.dumps({"event": event, "data": data or {}, **({} if id is None else {"id": id})})
        if len(frame.encode()) > MAX_FRAME_BYTES:
            raise TooLarge("The frame is larger than 64 KiB. Send a shorter message.")
        wait = self.pace.wait()
        if wait:
            await asyncio.sleep(wait)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self.ws.send(frame)
        except (TimeoutError, OSError, websockets.ConnectionClosed):
            self.drop()
            raise Closed("The socket was closed before the frame was sent.") from None

    async def ping(self) -> None:
        """Check that the server still answers; otherwise drop the socket."""
        await self.ask("ping", seconds=PONG_SECONDS)

    async def heartbeat(self, ms: int) -> None:
        """Ping until the socket does not answer."""
        least, most = HEARTBEAT_MS
        while True:
            await asyncio.sleep(min(max(ms, least), most) / 1000)
            await self.ping()

    def drop(self) -> None:
        """Close without waiting for the other side, which may be unreachable."""
        self.closed = True
        self.ws.transport.abort()

    async def close(self) -> None:
        """Close with a handshake, and end all waits for answers."""
        self.closed = True
        for future, _ in self.answers.values():
            if not future.done():
                future.set_exception(Closed("The socket was closed before the answer arrived."))
        self.answers.clear()
        try:
            await self.ws.close()
        except (OSError, websockets.WebSocketException):
            self.ws.transport.abort()


def refused_upgrade(refusal: websockets.InvalidStatus, base_url: str) -> EncerError:
    status = refusal.response.status_code
    try:
        error = error_of(json.loads(refusal.response.body or b""), status)
    except ValueError:
        error = error_of(None, status)
    if status == 403 and error.code == "FORBIDDEN":
        return OriginRefused("The server does not accept sockets of this origin. Add it to its FRONTEND_URL.")
    if status >= 500 or status in (408, 429):
        late = retry_after_of(refusal.response.headers)
        return Unreachable(f"{base_url} is not ready. The client retries.", status=status, retry_after=late)
    return not_here(base_url, status)
