"""The machine: which core a process runs on, and the CPU and memory that it uses.

CPU is that of the named processes only (user and system, all threads, in nanoseconds), so that other work on the
machine disturbs it little.
"""

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

from tests.drills.environment import processes_under

# Read before this process limits itself to one of them: of the measured process, and of everything else.
USABLE = sorted(os.sched_getaffinity(0))
MEASURED, OTHERS = USABLE[0], USABLE[-1]
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


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
