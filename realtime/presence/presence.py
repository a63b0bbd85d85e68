"""Presence: which users are online over all sockets and instances, published to connected users.

Each instance keeps its users in Redis and sends heartbeats; live instances remove the users of dead ones. Users are
divided into partitions (realtime/presence/index.py), which work and fail separately.
"""

import asyncio

from db.pool import Database
from realtime.conversation_feeds import Listener
from realtime.presence.index import PresenceIndex
from realtime.presence.partition import PresencePartition
from realtime.publisher import Publisher
from realtime.sockets.registry import SocketRegistry


class Presence:
    """Assigns each socket to the partition of its user."""

    def __init__(
        self, index: PresenceIndex, db: Database, publisher: Publisher, sockets: SocketRegistry, sockets_per_user: int
    ) -> None:
        self.index = index
        self.partitions = {
            name: PresencePartition(index, name, db, publisher, sockets, sockets_per_user) for name in index.partitions
        }

    def start(self) -> None:
        for partition in self.partitions.values():
            partition.start()

    async def stop(self) -> None:
        await asyncio.gather(*(partition.stop() for partition in self.partitions.values()))

    @property
    def settled(self) -> bool:
        return all(partition.settled for partition in self.partitions.values())

    def add_socket(self, listener: Listener) -> None:
        self.partition_of(listener.user_id).add_socket(listener)

    def remove_socket(self, listener: Listener) -> None:
        self.partition_of(listener.user_id).remove_socket(listener)

    def partition_of(self, user_id: str) -> PresencePartition:
        return self.partitions[self.index.partition_of(user_id)]
