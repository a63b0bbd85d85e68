"""A Redis cluster on this machine: three primaries that share the slots, and a replica that may take over."""

import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from redis import Redis
from redis.crc import key_slot

from db.packaged.servers import free_port, redis_answers, redis_binary

PASSWORD = "not-a-secret"
PRIMARIES = 3
SLOTS = 16_384
AGREE_SECONDS = 20.0
# Longer than a busy machine delays a process, so that nodes fail over only when a test stops one.
NODE_TIMEOUT_MS = 10_000


class Node:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.bus_port = free_port(), free_port()
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"
        self.redis = Redis.from_url(self.url, socket_timeout=5, protocol=2)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the node; after a stop it joins its cluster again."""
        self.folder.mkdir(exist_ok=True)
        options = {
            "bind": "127.0.0.1", "port": self.port, "dir": self.folder, "save": "", "appendonly": "no",
            "requirepass": PASSWORD, "masterauth": PASSWORD, "logfile": self.folder / "redis.log",
            "cluster-enabled": "yes", "cluster-port": self.bus_port, "cluster-node-timeout": NODE_TIMEOUT_MS,
            "repl-diskless-sync-delay": 0, "cluster-require-full-coverage": "no",
        }  # fmt: skip
        arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        self.process = subprocess.Popen([redis_binary(), *arguments], stdout=subprocess.DEVNULL)
        wait_until(lambda: redis_answers(self.url))

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def ask(self, *command: Any) -> Any:
        return self.redis.execute_command(*command)

    @property
    def id(self) -> str:
        value: str = self.ask("CLUSTER MYID").decode()
        return value

    def sees_all(self, nodes: int) -> bool:
        """Return whether this node sees all slots served and all nodes known."""
        state = self.ask("CLUSTER INFO")
        seen = [state[name] for name in ("cluster_state", "cluster_slots_ok", "cluster_known_nodes")]
        return seen == ["ok", str(SLOTS), str(nodes)]

    def is_linked(self) -> bool:
        value: bool = self.redis.info("replication")["master_link_status"] == "up"
        return value

    def listeners(self, channel: str) -> int:
        """Return how many instances are subscribed to this channel through this node."""
        return sum(count for _, count in self.ask("PUBSUB SHARDNUMSUB", channel))


class RedisCluster:
    def __init__(self, folder: Path, replica: bool = True) -> None:
        self.nodes = [Node(folder / f"redis-{number}") for number in range(PRIMARIES + replica)]
        self.primaries, self.replicas = self.nodes[:PRIMARIES], self.nodes[PRIMARIES:]

    @property
    def replica(self) -> Node:
        return self.replicas[0]

    @property
    def url(self) -> str:
        return self.primaries[0].url

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        share = SLOTS // PRIMARIES + 1
        for number, node in enumerate(self.primaries):
            node.ask("CLUSTER ADDSLOTSRANGE", number * share, min((number + 1) * share, SLOTS) - 1)
            node.ask("CLUSTER SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            node.ask("CLUSTER MEET", "127.0.0.1", self.nodes[0].port, self.nodes[0].bus_port)
        self.agree()
        for replica in self.replicas:
            replica.ask("CLUSTER REPLICATE", self.primaries[-1].id)
            wait_until(replica.is_linked)
        self.agree()

    def stop(self) -> None:
        for node in self.nodes:
            node.redis.close()
            node.kill()

    def agree(self) -> None:
        """Wait until every running node sees all slots served and all nodes known."""
        for node in self.nodes:
            if node.process:
                wait_until(partial(node.sees_all, len(self.nodes)))

    def owner(self, channel: str) -> Node:
        """Return the node that serves this channel's slot, as a running node reports it."""
        slot = key_slot(channel.encode())
        asked = next(node for node in self.nodes if node.process)
        for first, last, (_, port, *_), *_ in Redis.execute_command(asked.redis, "CLUSTER SLOTS", NEVER_DECODE=True):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == port)
        raise LookupError(channel)

    def move(self, channel: str) -> None:
        """Move the slot of this channel to another primary."""
        new = next(node for node in self.primaries if node is not self.owner(channel))
        for node in [new, *(node for node in self.primaries if node is not new)]:
            node.ask("CLUSTER SETSLOT", key_slot(channel.encode()), "NODE", new.id)


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + AGREE_SECONDS
    while not done():
        assert time.monotonic() < deadline, "the Redis cluster does not come about"
        time.sleep(0.02)
