"""Close the sockets of ended sessions within a second of their end, and then open the gate for held events."""

import asyncio

from db import tasks
from db.pool import DatabaseUnavailable
from db.queries.sessions import Sessions
from realtime.gate import DeliveryGate
from realtime.sockets.registry import SocketRegistry


class SessionWatch:
    """Repeats the check of ended sessions (db/queries/sessions.py) several times a second."""

    def __init__(self, sessions: Sessions, sockets: SocketRegistry, gate: DeliveryGate) -> None:
        self.sessions = sessions
        self.sockets = sockets
        self.gate = gate
        self.running: asyncio.Task[None] | None = None

    def start(self) -> None:
        work = tasks.supervise("session watch", self._watch, (DatabaseUnavailable,), (0.0, 0.0))
        self.running = asyncio.create_task(work, name="session watch")

    async def stop(self) -> None:
        await tasks.end(self.running)

    async def _watch(self) -> None:
        await self.sessions.next_check(has_sockets=len(self.sockets) > 0)
        for ended in await self.sessions.find_ended():
            self.sockets.close_session(ended)
        self.gate.open()
