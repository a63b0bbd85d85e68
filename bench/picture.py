"""The ratios of a measurement as SVG: a bar for each case, its spread, and its target."""

import statistics
from collections.abc import Sequence
from xml.sax.saxutils import escape

from bench.results import Result

WIDTH, LEFT, RIGHT, ROW, TOP = 1000, 260, 120, 22, 56
FULL = 1.6  # the share at the right edge; longer bars end there
GREEN, AMBER, RED = "#3c8d5a", "#e8a33d", "#c9473f"
COLOURS = {"yes": GREEN, "in spread": AMBER, "NO": RED}


def share_of_target(result: Result, value: float) -> float:
    """Return 1 for a value that just meets the target, and more for a better one."""
    bound = result.target.bound
    if result.target.sign == "≥":
        return value / bound
    return bound / value if value else FULL


def x(share: float) -> float:
    return LEFT + max(0.0, min(share, FULL)) / FULL * (WIDTH - LEFT - RIGHT)


def row(result: Result, top: float) -> list[str]:
    median = statistics.median(result.figures)
    shares = sorted(share_of_target(result, value) for value in result.figures)
    end, middle = x(share_of_target(result, median)), top + ROW / 2
    return [
        f'<text x="{LEFT - 8}" y="{middle + 4:.1f}" text-anchor="end">{escape(result.case)}</text>',
        f'<rect x="{LEFT}" y="{top + 4:.1f}" width="{end - LEFT:.1f}" height="{ROW - 8}"'
        f' fill="{COLOURS[result.verdict]}"/>',
        f'<path d="M{x(shares[0]):.1f} {middle:.1f}H{x(shares[-1]):.1f}" stroke="#222" stroke-width="2"/>',
        f'<text x="{WIDTH - RIGHT + 8}" y="{middle + 4:.1f}">{median:.3g} ({result.target.sign} '
        f"{result.target.bound:g})</text>",
    ]


def draw(results: Sequence[Result], title: str) -> str:
    height = TOP + ROW * len(results) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"'
        ' font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="20" y="22" font-size="15">{escape(title)}</text>',
        f'<text x="{x(1) - 4:.1f}" y="{TOP - 10}" text-anchor="end" fill="#555">worse than the target</text>',
        f'<text x="{x(1) + 4:.1f}" y="{TOP - 10}" fill="#555">better</text>',
        f'<text x="{WIDTH - RIGHT + 8}" y="{TOP - 10}" fill="#555">figure (target)</text>',
    ]
    for number, result in enumerate(results):
        parts += row(result, TOP + ROW * number)
    parts.append(f'<path d="M{x(1):.1f} {TOP - 6}V{height - 14}" stroke="#222" stroke-dasharray="4 3"/>')
    return "\n".join([*parts, "</svg>", ""])
