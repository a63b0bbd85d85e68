"""The index in Redis of the instances that have sockets of a user.

It is divided into partitions by the last digit of the user's id. All keys of a partition share a slot, so each script
is atomic, and a partition does not need the others. One server has one partition. A cluster has eight, spread over its
nodes; if a node fails or loses its data, only its own partitions are concerned.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from realtime.presence.scripts import HEARTBEAT, LEAVE, PRESENT, REPORT, SWEEP
from services.redis_scripts import Scripts

DEAD_SECONDS = 10.0  # without a heartbeat; then the instance's users count as offline, unless another instance has them
FRESH_SECONDS = 4.0  # sockets of an instance with a heartbeat within this time count towards SOCKETS_PER_USER

# Prefixes of keys. The slots of these eight are spread evenly: 3, 3 and 2 on three nodes, 2 or 1 on each of six.
ONE_SERVER = ("encer:{presence}:",)
CLUSTER = tuple(f"encer:{{presence-{number}}}:" for number in range(8))


class PresenceIndex:
    """Reads and writes the index for one instance. A partition is named by the prefix of its keys."""

    def __init__(self, scripts: Scripts, instance_id: str, sharded: bool) -> None:
        self.scripts = scripts
        self.instance_id = instance_id
        self.partitions = CLUSTER if sharded else ONE_SERVER

    def partition_of(self, user_id: str) -> str:
        return self.partitions[int(user_id[-1], 16) % len(self.partitions)]

    async def heartbeat(self, partition: str) -> tuple[int, int, list[bytes]]:
        """Renew the heartbeat. Return seconds since the last one (-1: Redis knows none), 1 if swept, dead instances."""
        silence, swept, dead = await self._run(HEARTBEAT, partition, self.instance_id, DEAD_SECONDS)
        return silence, swept, dead

    async def report(self, partition: str, counts: Mapping[str, int]) -> list[tuple[int, int, int]]:
        """Store open sockets of users (-1: gone). Return for each: known here before, is elsewhere, sockets in all.

        Store and return nothing if Redis does not know this instance; then it needs a heartbeat first."""
        pairs = [part for pair in counts.items() for part in pair]
        answers = await self._run(REPORT, partition, self.instance_id, FRESH_SECONDS, *pairs)
        return [(before, elsewhere, total) for before, elsewhere, total in answers]

    async def leave(self, partition: str) -> None:
        await self._run(LEAVE, partition, self.instance_id)

    async def sweep(self, partition: str, instance_id: str) -> tuple[float, list[str], bool] | None:
        """Remove a dead instance. Return its last heartbeat, users who are on no instance, whether it stopped in order.

        Return None if it is alive, or if another instance has removed it."""
        for heartbeat, gone, left in await self._run(SWEEP, partition, instance_id, DEAD_SECONDS):
            return float(heartbeat), [user_id.decode() for user_id in gone], bool(left)
        return None

    async def find_online(self, users: Iterable[str]) -> set[str]:
        """Return those of `users` who are online. The partitions are asked at the same time."""
        partitions: dict[str, list[str]] = {}
        for user_id in users:
            partitions.setdefault(self.partition_of(user_id), []).append(user_id)
        answers = await asyncio.gather(*(self._run(PRESENT, partition, *ids) for partition, ids in partitions.items()))
        asked = [user_id for ids in partitions.values() for user_id in ids]
        found = [present for answer in answers for present in answer]
        return {user_id for user_id, present in zip(asked, found, strict=True) if present}

    async def _run(self, script: str, partition: str, *arguments: Any) -> Any:
        return await self.scripts.eval(script, 1, partition, *arguments)
