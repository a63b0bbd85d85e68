"""The client: one connection with its states, and the conversations, outbox and counts that use it."""

import asyncio
import random
import ssl
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self

from .backoff import Backoff
from .conversation import Conversation
from .emitter import Emitter, log
from .errors import MAY_PASS, Closed, EncerError, NotSignedIn, SessionEnded, TooMany, Unreachable, WrongServer
from .listing import Listing
from .outbox import SECONDS, Outbox
from .outbox_stores import OutboxStore
from .rest import Rest, not_here
from .socket import FRAMES_AT_ONCE, FRAMES_PER_SECOND, MALFORMED, OTHER_PROTOCOL, Pace, Socket, check_numbers
from .tokens import MemoryTokens, TokenStore
from .unread import Unread

State = Literal["connecting", "live", "offline", "ended"]
CONVERSATIONS = 100  # that a socket may join
LIVE_SECONDS = 60.0  # that `live` waits
PENDING_FRAMES = 20  # frames without an answer that wait to be sent; further ones are dropped
RENEWAL_RETRY = 5.0
NOTIFICATIONS = {
    "notification_received": "received",
    "notification_updated": "updated",
    "notification_read": "read",
    "notification_deleted": "deleted",
}


class Encer(Emitter):
    """Events: state, notification, presence, unread, sent, failed, error (README.md)."""

    def __init__(
        self,
        base_url: str,
        *,
        tokens: TokenStore | None = None,
        outbox: OutboxStore | None = None,
        send_seconds: float = SECONDS,
        tls: ssl.SSLContext | None = None,
        pace: tuple[float, int] = (FRAMES_PER_SECOND, FRAMES_AT_ONCE),
    ) -> None:
        """`tls` replaces the default trust in certificates. `pace` is the frames per second, and the number at once.

        Raises WrongServer if `base_url` is not a URL."""
        super().__init__()
        self.rest = Rest(base_url, tokens or MemoryTokens(), tls or True)
        self.call = self.rest.call
        self.tls = tls
        self.pace = pace
        self.state: State = "offline"
        self.error: EncerError | None = None  # the last failure, or the reason why the client ended
        self.user_id = ""
        self.socket: Socket | None = None
        self.outbox = Outbox(self.emit, self._find_user, outbox, send_seconds)
        self.listing = Listing(self)
        self.unread = Unread(self._emit_unread)
        self.conversations: dict[str, Conversation] = {}
        self._backoff = Backoff()
        self._checked = self._closed = False
        self._switches = 0  # of the user, by `sign_in`
        self._ready_at: float | None = None  # when the current connection became live
        self._leaving: dict[str, asyncio.Task[Any]] = {}  # by conversation: it waits for the server's answer
        self._failure: EncerError | None = None  # of the current attempt to connect, or of its connection
        self._refused: str | None = None  # the access token that the server did not accept
        self._running: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()  # of the current socket
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()

    # -- what a program does -----------------------------------------------------------------------------------------

    async def sign_in(self, email: str, password: str) -> dict[str, Any]:
        """Sign in, store the tokens and return the user. The conversations of a former user end; messages of a former
        user wait until that user signs in."""
        before = self.rest.session.user_id()
        user = await self.rest.sign_in(email, password)
        if {before, self.user_id, self.outbox.user} - {"", user["id"]}:
            self._switches += 1  # an attempt to connect that still uses the former user's token is given up
            if self.socket:
                self.socket.drop()
            self._drop_socket()
            self._replace_user(user["id"])
            if self.state == "live":
                self._set("offline")
        return user

    async def sign_out(self) -> None:
        """End the session on the server, delete the tokens and the unsent messages, and close."""
        user = self._find_user()
        try:
            await self.call("POST", "/auth/logout")
        finally:
            self.rest.session.store.save(None)
            await self.close()
            self.outbox.discard(user)

    def conversation(self, id: str, after: int | None = None) -> Conversation:
        """Join a conversation. It begins with the newest 50 messages, or with every change after rev `after`."""
        if id not in self.conversations:
            if len(self.conversations) >= CONVERSATIONS:
                raise TooMany(f"At most {CONVERSATIONS} conversations can be joined. Leave one first.")
            chat = self.conversations[id] = Conversation(self, id, after)
            if self.state == "ended":
                chat.end_streams(self.error)
            if self.socket:
                self.supervise(self._join_and_list(chat, self.socket))
        self.connect()
        return self.conversations[id]

    def connect(self) -> None:
        """Connect, and reconnect until `close` or an error that a retry cannot solve."""
        if not self._closed and (self._running is None or self._running.done()):
            self._backoff, self.error = Backoff(), None
            for emitter in (self, *self.conversations.values()):
                emitter.open_streams()
            self._set("connecting")
            self._running = asyncio.create_task(self._run())

    async def live(self, seconds: float = LIVE_SECONDS) -> None:
        """Wait until the connection is live. Raises the error that ended it, or Unreachable after `seconds`."""
        self.connect()
        try:
            async with asyncio.timeout(seconds):
                while self.state != "live":
                    self.check_open()
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise self.error or Unreachable(f"There was no connection within {seconds:.0f} s.") from None

    def wake(self) -> None:
        """Check the connection now: call it when the machine wakes up or its network changes."""
        self._wake.set()
        if self.socket:
            self.supervise(self.socket.ping())

    async def close(self) -> None:
        """Close the connection. Waiting messages of the outbox fail with Closed; a persisted outbox keeps them."""
        self._closed = True
        if self._running:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        self._end(None)
        await self.rest.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- for its parts -----------------------------------------------------------------------------------------------

    def _find_user(self) -> str:
        """Return the id of the user of the socket, else of the stored tokens, which other programs may share."""
        return self.user_id if self.socket else self.rest.session.user_id()

    def check_open(self) -> None:
        if self.state == "ended":
            raise self.error or Closed("The client is closed.")

    async def remove_conversation(self, chat: Conversation) -> None:
        if self.conversations.get(chat.id) is not chat:
            return
        del self.conversations[chat.id]
        if self.socket:
            leaving = asyncio.create_task(self.socket.ask("leave_conversation", {"conversationId": chat.id}))
            self._leaving[chat.id] = leaving
            leaving.add_done_callback(partial(self._has_left, chat.id))
            with suppress(Closed, NotSignedIn):  # the next socket does not join it
                await asyncio.shield(leaving)

    def _has_left(self, conversation_id: str, leaving: asyncio.Task[Any]) -> None:
        if self._leaving.get(conversation_id) is leaving:
            del self._leaving[conversation_id]
        if not leaving.cancelled():
            leaving.exception()  # the caller may have been cancelled, and asyncio logs errors that nothing retrieves

    def send_frame(self, event: str, conversation_id: str) -> bool:
        """Send a frame whose loss does not matter; False if there is no connection."""
        if not self.socket or len(self._tasks) >= PENDING_FRAMES + CONVERSATIONS:
            return False
        self.supervise(self.socket.send(event, {"conversationId": conversation_id}))
        return True

    def supervise(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run it while the current socket is open. If it fails, the socket is dropped; the next one starts it again."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        error = task.exception()
        if isinstance(error, EncerError):
            if not isinstance(error, Closed):  # this one is an effect of the close, not its reason
                self._failure = error
        elif not isinstance(error, OSError):
            log.error("the connection failed", exc_info=error)
        if self.socket:
            self.socket.drop()

    # -- the connection ----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while True:
                self._set("connecting")
                code: int | None = None
                goodbye: float | None = None
                self._ready_at = self._failure = None
                try:
                    code, goodbye = await self._connect_once()
                except MAY_PASS as failure:
                    self._failure = failure
                self._drop_socket()
                self.error = self._failure
                pause = self._backoff.after(code, self.error, goodbye, self._lived())
                self._wake.clear()  # first, so that a listener of `offline` may call `wake`
                self._set("offline")
                await self._pause(pause)
        except EncerError as error:
            self._end(error)
        except Exception as error:
            log.exception("the client failed")
            self._end(EncerError(f"The client failed: {type(error).__name__}. Please report it."))

    def _lived(self) -> float:
        return 0.0 if self._ready_at is None else asyncio.get_running_loop().time() - self._ready_at

    async def _connect_once(self) -> tuple[int | None, float | None]:
        """Connect and stay until the socket closes; return its code and the pause that the server requested."""
        if not self._checked:
            await self.rest.check_server()
            self._checked = True
        switches = self._switches
        token = await self.rest.session.token(self._refused)
        socket = await Socket.open(self.rest.base_url, token, self.tls, Pace(*self.pace))
        goodbye: float | None = None
        try:
            data = await socket.ready()
            if self._switches != switches:
                return None, None
            if data is not None:
                self._ready(socket, token, data)
                while (event := await socket.read()) is not None and self.socket is socket:
                    pause = event[1].get("reconnectAfterMs") if event[0] == "going_away" else None
                    if isinstance(pause, int | float) and pause >= 0:
                        goodbye = pause / 1000
                    self._dispatch(socket, *event)
            code = None if socket.closed else socket.ws.close_code
            # A close follows an answer with this error, and the client has not waited for it.
            if isinstance(self._failure, NotSignedIn):
                code = 4403 if isinstance(self._failure, SessionEnded) else 4401
            self._refused = token if code == 4401 else None
            return code, goodbye
        except MALFORMED as error:
            raise WrongServer(OTHER_PROTOCOL) from error
        finally:
            self._drop_socket()
            await socket.close()

    def _ready(self, socket: Socket, token: str, data: dict[str, Any]) -> None:
        user = data["userId"]
        if not isinstance(user, str):
            raise WrongServer(OTHER_PROTOCOL)
        check_numbers(data["heartbeatMs"], data["unreadNotifications"], data["unreadMessages"])
        if self.user_id not in ("", user):  # another program has signed in with the same store
            self._replace_user(user)
        self.socket, self.user_id, self.error = socket, user, None
        self._ready_at = asyncio.get_running_loop().time()
        self._checked = False  # the next connection may be to another version, after an upgrade
        # First: a listener of `live` may join further conversations.
        self.supervise(self._join_all(socket, [*self.conversations.values()]))
        self._set("live")
        self.unread.ready(data)
        self.supervise(socket.heartbeat(data["heartbeatMs"]))
        self.supervise(self._renew(socket, token))
        self.outbox.live(socket, self.user_id)

    async def _renew(self, socket: Socket, token: str) -> None:
        """Sign in again over the same socket before the token expires."""
        session = self.rest.session
        pause = session.seconds_to_renewal(token)
        while True:
            await asyncio.sleep(max(1.0, pause))
            try:
                token = await session.token()
                await socket.ask("authenticate", {"token": token})
                pause = session.seconds_to_renewal(token)
            except MAY_PASS:
                pause = RENEWAL_RETRY * (1 + random.random())

    async def _join_all(self, socket: Socket, chats: list[Conversation]) -> None:
        for chat in chats:
            await self._join(chat, socket)
        self._backoff.live()
        self.listing.ask()

    async def _join(self, chat: Conversation, socket: Socket) -> None:
        try:
            await chat.resume(socket)
        except (Closed, NotSignedIn, *MAY_PASS):
            raise  # the socket is dropped, and the next one retries
        except (EncerError, *MALFORMED) as failure:  # not a participant, for example: a retry cannot solve it
            error = failure if isinstance(failure, EncerError) else not_here(self.rest.base_url)
            if self.conversations.get(chat.id) is chat:
                del self.conversations[chat.id]
            chat.emit("error", error)
            chat.end_streams(error)

    async def _join_and_list(self, chat: Conversation, socket: Socket) -> None:
        if leaving := self._leaving.get(chat.id):  # until then, events are those of the object that leaves
            await asyncio.wait({leaving})
        await self._join(chat, socket)
        self.listing.ask()

    def _dispatch(self, socket: Socket, name: str, data: dict[str, Any]) -> None:
        if name in NOTIFICATIONS:
            if self.unread.notification(name, data):
                self.listing.ask()
            self.emit("notification", {"kind": NOTIFICATIONS[name], **data})
        elif name in ("user_online", "user_offline"):
            self.emit("presence", {"online": name == "user_online", **data})
        elif name == "resync" and "conversationId" not in data:
            self.listing.ask()
        elif (chat := self.conversations.get(data.get("conversationId", ""))) is not None:
            if name == "resync":
                chat.resync(socket)
            else:
                chat.receive(name, data)

    def _emit_unread(self, conversation_id: str, count: int) -> None:
        if chat := self.conversations.get(conversation_id):
            chat.unread = count
            chat.emit("unread", {"count": count})
        self.emit("unread", {"notifications": self.unread.notifications, "messages": self.unread.messages})

    async def _pause(self, seconds: float) -> None:
        if self._backoff.is_due:
            await asyncio.sleep(seconds)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    def _replace_user(self, user: str) -> None:
        """End what belongs to a former user."""
        self.user_id, self._failure = user, None
        self.outbox.end(Closed("Another user has signed in. A stored message waits for its author."))
        chats = [*self.conversations.values()]
        self.conversations.clear()
        self.unread.listed({})
        for chat in chats:
            chat.end(Closed("Another user has signed in. Join the conversation again."))

    def _drop_socket(self) -> None:
        if self.socket is None:
            return
        self.socket = None
        self.outbox.offline()
        for task in self._tasks:
            task.cancel()
        for chat in self.conversations.values():
            chat.offline()

    def _set(self, state: State) -> None:
        if state != self.state:
            self.state = state
            self._changed.set()
            self.emit("state", state)

    def _end(self, error: EncerError | None) -> None:
        self._drop_socket()
        if self.state == "ended":
            return
        self.error, self._running = error, None  # a listener of `ended` may connect again
        self.outbox.end(error or Closed("The client is closed."))
        for emitter in (self, *self.conversations.values()):
            emitter.end_streams(error)
        self._set("ended")
        if error:
            self.emit("error", error)
