"""Stop behind a load balancer without losing a request. Tornado alone would cut off running requests."""

import asyncio
import ctypes
import gc
import select
import socket
import struct
import sys
from collections.abc import Sized
from contextlib import suppress

from tornado.httpserver import HTTPServer

POLL_SECONDS = 0.02
UNREAD_SECONDS = 0.1  # a connection that has just been accepted may carry a request that is not read yet
SO_ATTACH_FILTER = 26  # Linux
DROP_EVERYTHING = struct.pack("HBBI", 0x06, 0, 0, 0)  # the one-instruction packet filter `return 0`


async def stop_accepting(http: HTTPServer) -> None:
    """Accept no new connections, and lose none that the kernel has already accepted.

    Closing a listening socket resets connections that wait to be accepted, with their requests. So the kernel first
    drops new connections (a proxy then uses another instance), and then the waiting ones are accepted.
    """
    listening: list[socket.socket] = list(http._sockets.values())
    for sock in listening:
        drop_new_connections(sock)
    while select.select(listening, [], [], 0)[0]:  # noqa: ASYNC110  Tornado has no event for this
        await asyncio.sleep(0.001)  # Tornado accepts them meanwhile
    http.stop()


def drop_new_connections(sock: socket.socket) -> bool:
    """Return whether the kernel drops new connections. Some kernels allow it to root only; then one may be reset."""
    if not sys.platform.startswith("linux") or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    code = ctypes.create_string_buffer(DROP_EVERYTHING)
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(code)))
        return True
    return False


def has_requests(http: HTTPServer) -> bool:
    """Return whether an open connection carries a request or an answer.

    An idle connection waits for the first bytes of a request and has none. Bytes that the kernel holds, and bytes that
    Tornado has read without having parsed a request, are visible only here.
    """
    arrived = select.poll()
    for connection in http._connections:
        stream = connection.stream
        if stream.closed():
            continue
        if stream.writing() or not stream.reading():
            return True
        arrived.register(stream.fileno(), select.POLLIN)
    return bool(arrived.poll(0))


async def requests_end(http: HTTPServer, running: Sized, idle_seconds: float) -> None:
    """Wait until the `running` requests are answered and the answers written, then close idle connections.

    The proxy gets `idle_seconds` to close its idle connections, because one that we close could carry a request that we
    have not read. The caller bounds the wait.
    """
    gc.collect()  # weak references: requests whose client has disconnected drop out
    until = asyncio.get_running_loop().time() + max(idle_seconds, UNREAD_SECONDS)
    while (  # noqa: ASYNC110  Tornado has no event for this either
        running or has_requests(http) or (http._connections and asyncio.get_running_loop().time() < until)
    ):
        await asyncio.sleep(POLL_SECONDS)
    await http.close_all_connections()
