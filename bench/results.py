"""The result of a measurement, whether it meets its target, and how it is printed."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from bench.setup.machine import Waits

COLUMNS = f"{'case':<46} {'ours':>22} {'floor':>22} {'ratio':>18} {'target':>20}  met"
Figure = Literal["floor ÷ ours", "ours ÷ floor", "ours"]


class Target(NamedTuple):
    """A bound of a figure that each round gives."""

    figure: Figure
    sign: Literal["≥", "≤"]
    bound: float

    def fits(self, value: float) -> bool:
        return value >= self.bound if self.sign == "≥" else value <= self.bound

    def __str__(self) -> str:
        return f"{self.figure} {self.sign} {self.bound:g}"


def at_least(bound: float) -> Target:
    """Return the target of a cost: the part of it that the floor needs too."""
    return Target("floor ÷ ours", "≥", bound)


def rate_at_least(bound: float) -> Target:
    """Return the target of a rate, as a part of the floor's."""
    return Target("ours ÷ floor", "≥", bound)


def at_most_times(bound: float) -> Target:
    """Return the target of a cost, as a multiple of what it is compared with."""
    return Target("ours ÷ floor", "≤", bound)


def at_most(bound: float) -> Target:
    return Target("ours", "≤", bound)


def digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(values: Sequence[float]) -> str:
    """Return the median (lowest–highest)."""
    if not values:
        return "–"
    if len(values) == 1:
        return digits(values[0])
    return f"{digits(statistics.median(values))} ({digits(min(values))}–{digits(max(values))})"


@dataclass
class Result:
    """`ours`, `floor` and `old` have one figure for each round; the ones of a round were measured in turns.

    `floor` is what ours is compared with: the cost of a minimal server, or, in some cases, of the same server."""

    case: str
    unit: str
    target: Target
    ours: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)
    old: list[float] = field(default_factory=list)
    floor_of_health: list[float] = field(default_factory=list)  # of HTTP cases, to check the cost of their floor
    waits: list[Waits] = field(default_factory=list)  # of cases that measure delays: in each round of ours
    floor_waits: list[Waits] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Return the target's ratio in each round; none if the target is a figure of ours alone."""
        pairs = zip(self.ours, self.floor, strict=False)
        if self.target.figure == "floor ÷ ours":
            return [floor / ours for ours, floor in pairs]
        return [ours / floor for ours, floor in pairs] if self.target.figure == "ours ÷ floor" else []

    @property
    def figures(self) -> list[float]:
        return self.ours if self.target.figure == "ours" else self.ratios

    @property
    def met(self) -> bool:
        """Return whether the median meets the target."""
        return self.target.fits(statistics.median(self.figures))

    @property
    def missed(self) -> bool:
        """Return whether no round meets the target, so that the miss is beyond the spread."""
        return not any(map(self.target.fits, self.figures))

    @property
    def verdict(self) -> str:
        return "yes" if self.met else "NO" if self.missed else "in spread"

    @property
    def title(self) -> str:
        return f"{self.case}, {self.unit}"

    def line(self) -> str:
        figures = f"{spread(self.ours):>22} {spread(self.floor):>22} {spread(self.ratios):>18}"
        return f"{self.title:<46} {figures} {self.target!s:>20}  {self.verdict}"

    def waiting(self) -> str:
        """Return the lowest and the highest figure, and what the machine did in these rounds."""
        sides = []
        for name, figures, waits in (("ours", self.ours, self.waits), ("floor", self.floor, self.floor_waits)):
            rounds = sorted(zip(figures, waits, strict=False))
            (low, first), (high, last) = rounds[0], rounds[-1]
            sides.append(f"{name} {digits(low)} ({first}) to {digits(high)} ({last})")
        return f"{self.title}: {'; '.join(sides)}"

    def comparison(self) -> str:
        ratios = [own / before for own, before in zip(self.ours, self.old, strict=False)]
        return f"{self.title:<46} {spread(self.ours):>22} {spread(self.old):>22} {spread(ratios):>18}"

    def as_json(self) -> dict[str, Any]:
        return {
            "case": self.case,
            "unit": self.unit,
            "ours": self.ours,
            "floor": self.floor,
            "old": self.old,
            "target": list(self.target),
            "met": self.met,
            "waits": self.waits,
            "floor_waits": self.floor_waits,
        }

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "Result":
        target = Target(*found["target"])
        waits, floor_waits = ([Waits(*round) for round in found[name]] for name in ("waits", "floor_waits"))
        return cls(
            found["case"],
            found["unit"],
            target,
            found["ours"],
            found["floor"],
            found["old"],
            waits=waits,
            floor_waits=floor_waits,
        )


def print_table(results: Sequence[Result]) -> None:
    print(f"\n{COLUMNS}\n{'-' * len(COLUMNS)}")
    for result in results:
        print(result.line())
    if any(result.old for result in results):
        print(f"\n{'case':<46} {'ours':>22} {'old':>22} {'ours ÷ old':>18}")
        for result in results:
            if result.old:
                print(result.comparison())
