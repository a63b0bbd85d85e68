"""The machine: which core a process runs on, and the CPU and memory that it uses.

CPU is that of the named processes only (user and system, all threads, in nanoseconds), so that other work on the
machine disturbs it little. Delays contain waiting too, which `Watch` measures.
"""

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.drills.environment import processes_under

# The usable cores, read before this process limits itself to one. The measured server has one, the others have another.
USABLE = sorted(os.sched_getaffinity(0))
MEASURED, OTHERS = USABLE[0], USABLE[-1]
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
DISK = Path("/proc/pressure/io")  # some kernels do not have it


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """Run processes that are started in the block on this core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds(pids: Iterable[int]) -> dict[int, float]:
    """Return the CPU that each process has used (on Linux the clock of a process has an id made of its pid)."""
    return {pid: time.clock_gettime(~pid << 3 | 2) for pid in pids}


def cpu_of_tree(pid: int) -> float:
    """Return the CPU of a process, of its living descendants, and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ended = (int(fields[13]) + int(fields[14])) / TICKS
    return ended + sum(cpu_seconds(processes_under(pid)).values())


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


@contextlib.contextmanager
def on_all_cores(pid: int) -> Iterator[None]:
    """Run a process and its descendants on all cores in the block. They must have one thread each."""
    try:
        for each in processes_under(pid):
            os.sched_setaffinity(each, USABLE)
        yield
    finally:
        for each in processes_under(pid):
            os.sched_setaffinity(each, {OTHERS})


class Meter:
    """`with meter: …`, then `meter.seconds` is the CPU that the processes used in the block."""

    def __init__(self, *pids: int, children_of: int | None = None) -> None:
        self.own = pids
        self.children_of = children_of
        self.seconds = 0.0

    @property
    def pids(self) -> list[int]:
        return [*self.own, *(processes_under(self.children_of) if self.children_of else [])]

    def __enter__(self) -> "Meter":
        self.before = cpu_seconds(self.pids)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        after = cpu_seconds(self.pids)
        self.seconds = sum(used - self.before.get(pid, 0.0) for pid, used in after.items())


class Waits(NamedTuple):
    """What the machine did during a measurement, in milliseconds per second. A sum of processes can exceed 1,000."""

    servers: float  # the measured processes were ready to run, but had no core
    others: float  # the same of the client, PostgreSQL and Redis
    disk: float  # a process of the machine waited for the disk
    stolen: float  # the host gave the cores to other virtual machines

    def __str__(self) -> str:
        return ", ".join(f"{value:.0f}" for value in self)


def core_delay(pid: int) -> float:
    """Return for how many milliseconds the threads of a process were ready to run and had no core."""
    total = 0
    for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # the thread has ended
            total += int(file.read_text().split()[1])
    return total / 1e6


def stolen() -> float:
    """Return for how many milliseconds other virtual machines used the cores, summed over the cores."""
    return int(Path("/proc/stat").read_text().split(maxsplit=9)[8]) * 1e3 / TICKS


def disk_delay() -> float:
    return int(DISK.read_text().partition("total=")[2].split()[0]) / 1e3 if DISK.exists() else 0.0


class Watch:
    """`with watch: …`, as often as needed, then `watch.take()` returns the waits in these blocks.

    The other processes are the descendants of this one, and Redis, which is a daemon."""

    def __init__(self, servers: Sequence[int], redis: int) -> None:
        self.servers, self.redis = servers, redis
        self.total = [0.0] * 5

    def read(self) -> list[float]:
        ours = sum(map(core_delay, self.servers))
        everything = sum(map(core_delay, [*processes_under(os.getpid()), self.redis]))
        return [ours, everything, disk_delay(), stolen(), time.monotonic()]

    def __enter__(self) -> Self:
        self.before = self.read()
        return self

    def __exit__(self, *_: object) -> None:
        spans = zip(self.total, self.before, self.read(), strict=True)
        self.total = [total + after - before for total, before, after in spans]

    def take(self) -> Waits:
        ours, everything, disk, taken, seconds = self.total
        self.total = [0.0] * 5
        return Waits(*(value / seconds for value in (ours, everything - ours, disk, taken)))
