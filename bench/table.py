"""The result of a measurement, whether it meets its target, and how it is printed."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

COLUMNS = f"{'case':<44} {'ours':>22} {'floor':>22} {'floor ÷ ours':>18} {'target':>8}  met"


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

    The target is a lowest ratio floor ÷ ours, or, without a floor, a highest value of ours (`at_most`)."""

    case: str
    unit: str
    ours: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)
    old: list[float] = field(default_factory=list)
    target: float | None = None
    at_most: float | None = None

    @property
    def ratios(self) -> list[float]:
        return [least / own for least, own in zip(self.floor, self.ours, strict=False)]

    @property
    def met(self) -> bool:
        """Return whether the median meets the target."""
        if self.at_most is not None:
            return statistics.median(self.ours) <= self.at_most
        return self.target is None or statistics.median(self.ratios) >= self.target

    @property
    def missed(self) -> bool:
        """Return whether no round meets the target, so that the miss is beyond the spread."""
        if self.at_most is not None:
            return min(self.ours) > self.at_most
        return self.target is not None and max(self.ratios) < self.target

    def line(self) -> str:
        goal = f"≤ {digits(self.at_most)}" if self.at_most is not None else f"≥ {self.target}" if self.target else "–"
        verdict = "" if goal == "–" else "yes" if self.met else "NO" if self.missed else "in spread"
        figures = f"{spread(self.ours):>22} {spread(self.floor):>22} {spread(self.ratios):>18}"
        return f"{self.case + ', ' + self.unit:<44} {figures} {goal:>8}  {verdict}"

    def comparison(self) -> str:
        ratios = [own / before for own, before in zip(self.ours, self.old, strict=False)]
        return f"{self.case + ', ' + self.unit:<44} {spread(self.ours):>22} {spread(self.old):>22} {spread(ratios):>18}"

    def as_json(self) -> dict[str, Any]:
        return {
            "case": self.case,
            "unit": self.unit,
            "ours": self.ours,
            "floor": self.floor,
            "old": self.old,
            "target": self.target,
            "atMost": self.at_most,
            "met": self.met,
        }


def print_table(results: Sequence[Result]) -> None:
    print(f"\n{COLUMNS}\n{'-' * len(COLUMNS)}")
    for result in results:
        print(result.line())
    if any(result.old for result in results):
        print(f"\n{'case':<44} {'ours':>22} {'old':>22} {'ours ÷ old':>18}")
        for result in results:
            if result.old:
                print(result.comparison())
