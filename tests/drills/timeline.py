"""A timeline as SVG: deliveries per second and their delays, with the faults as bands."""

from dataclasses import dataclass
from math import log10
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT = 1200, 60, 20
PANEL, GAP = 170, 46
COLOURS = {"instance": "#e8a33d", "Redis": "#d9534f", "PostgreSQL": "#4a7fb5", "clients": "#7a7a7a"}
SECONDS_LINES = (0.01, 0.1, 1.0, 10.0)


@dataclass
class InjectedFault:
    """A fault that was injected; seconds since the start."""

    name: str
    what: str
    began: float
    ended: float
    recovered: float = 0.0


def colour(name: str) -> str:
    return next(value for key, value in COLOURS.items() if key in name)


def height_of(seconds: float) -> float:
    """Return the place of a delay on a logarithmic scale from 1 ms to 100 s, 0 to 1."""
    return min(1.0, max(0.0, (log10(max(seconds, 0.001)) + 3) / 5))


def draw(deliveries: list[tuple[float, float, str]], faults: list[InjectedFault], title: str) -> str:
    """Return the SVG. `deliveries` are (time of delivery, time of sending, conversation)."""
    end = max([when for when, _, _ in deliveries] + [fault.ended for fault in faults] + [1.0])
    step = 0.5

    def x(seconds: float) -> float:
        return LEFT + seconds / end * (WIDTH - LEFT - RIGHT)

    buckets: dict[int, list[float]] = {}
    for when, sent, _ in deliveries:
        buckets.setdefault(int(when / step), []).append(when - sent)
    most = max((len(bucket) for bucket in buckets.values()), default=1) / step
    top_rate, top_time = 50, 50 + PANEL + GAP
    bottom = top_time + PANEL
    rows = (len(faults) + 1) // 2
    height = bottom + 50 + rows * 17 + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"',
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="16">{escape(title)}</text>',
        f'<text x="{LEFT}" y="{top_rate - 6}" fill="#555">deliveries a second</text>',
        f'<text x="{LEFT}" y="{top_time - 6}" fill="#555">seconds to delivery: median (green), slowest (red)</text>',
    ]
    for number, fault in enumerate(faults, 1):
        width = max(1.5, x(fault.ended) - x(fault.began))
        for top in (top_rate, top_time):
            parts.append(
                f'<rect x="{x(fault.began):.1f}" y="{top}" width="{width:.1f}" height="{PANEL}" '
                f'fill="{colour(fault.name)}" opacity="0.3"/>'
            )
        parts.append(
            f'<text x="{x(fault.began) + width / 2:.1f}" y="{top_rate + PANEL + 16}" text-anchor="middle" '
            f'fill="{colour(fault.name)}">{number}</text>'
        )
    for seconds in SECONDS_LINES:
        y = top_time + PANEL * (1 - height_of(seconds))
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#555">{seconds:g}</text>')
    parts.append(f'<text x="{LEFT - 6}" y="{top_rate + 10}" text-anchor="end" fill="#555">{most:.0f}</text>')
    for bucket, times in sorted(buckets.items()):
        left, wide = x(bucket * step), max(0.8, x(step) - x(0) - 0.4)
        tall = PANEL * len(times) / step / most
        parts.append(
            f'<rect x="{left:.1f}" y="{top_rate + PANEL - tall:.1f}" width="{wide:.1f}" height="{tall:.1f}" '
            'fill="#3b7d5b"/>'
        )
        times.sort()
        for value, fill in ((times[-1], "#b33"), (times[len(times) // 2], "#3b7d5b")):
            y = top_time + PANEL * (1 - height_of(value))
            parts.append(f'<circle cx="{left:.1f}" cy="{y:.1f}" r="1.6" fill="{fill}"/>')
    for tick in range(0, int(end) + 1, max(10, int(end / 12 / 10) * 10)):
        parts.append(f'<text x="{x(tick):.1f}" y="{bottom + 16}" text-anchor="middle" fill="#555">{tick} s</text>')
    for number, fault in enumerate(faults):
        column, row = divmod(number, rows)
        lasted = f"{fault.ended - fault.began:.1f} s; recovered after {fault.recovered:.1f} s"
        text = escape(f"{number + 1}  {fault.name}: {fault.what}, {lasted}")
        parts.append(
            f'<text x="{LEFT + column * 560}" y="{bottom + 50 + row * 17}" fill="{colour(fault.name)}">{text}</text>'
        )
    return "\n".join([*parts, "</svg>\n"])
