"""The reliability plot of a report, as SVG: what was foretold against what came."""

from __future__ import annotations

from html import escape

from cartstream.detection.intent.report import Bin, Report

SIDE, EDGE = 320, 56
_STYLE = "font-family:sans-serif;font-size:12px;fill:#333"


def plot(report: Report) -> str:
    """A dot for each bin, the diagonal where the two agree. Both axes cover what the bins cover. The same report gives the same bytes."""
    shares = [share for one in report.reliability for share in (one.foretold, one.came)]
    low, high = _span(shares)
    width, height = SIDE + 2 * EDGE, SIDE + 2 * EDGE
    title = f"{report.source}: {report.rows:,} rows, AUC {report.auc:.3f}, calibration error {report.calibration_error:.3f}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" style="{_STYLE}">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{width / 2:g}" y="24" text-anchor="middle">{escape(title)}</text>',
        *_frame(low, high),
        *_dots(report.reliability, low, high),
        f'<text x="{width / 2:g}" y="{height - 12}" text-anchor="middle">foretold: leaves without buying</text>',
        f'<text transform="translate(14 {height / 2:g}) rotate(-90)" text-anchor="middle">came: left without buying</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _span(shares: list[float]) -> tuple[float, float]:
    """To whole tenths, at least one."""
    low, high = int(min(shares, default=0) * 10), int(max(shares, default=1) * 10 + 0.999)
    return low / 10, max(high, low + 1) / 10


def _frame(low: float, high: float) -> list[str]:
    parts = [
        f'<rect x="{EDGE}" y="{EDGE}" width="{SIDE}" height="{SIDE}" fill="none" stroke="#999"/>',
        f'<line x1="{EDGE}" y1="{EDGE + SIDE}" x2="{EDGE + SIDE}" y2="{EDGE}" stroke="#999" stroke-dasharray="4 4"/>',
    ]
    for tick in range(round(low * 10), round(high * 10) + 1):
        x, y = _place(tick / 10, tick / 10, low, high)
        parts.append(f'<text x="{x:.1f}" y="{EDGE + SIDE + 16}" text-anchor="middle">{tick / 10:g}</text>')
        parts.append(f'<text x="{EDGE - 6}" y="{y + 4:.1f}" text-anchor="end">{tick / 10:g}</text>')
    return parts


def _dots(bins: list[Bin], low: float, high: float) -> list[str]:
    places = [_place(one.foretold, one.came, low, high) for one in bins]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#1f77b4"><title>{one.rows:,} rows: foretold {one.foretold:.3f}, came {one.came:.3f}'
        "</title></circle>"
        for one, (x, y) in zip(bins, places, strict=True)
    ]
    return [f'<polyline points="{line}" fill="none" stroke="#1f77b4"/>', *dots]


def _place(foretold: float, came: float, low: float, high: float) -> tuple[float, float]:
    scale = SIDE / (high - low)
    return EDGE + (foretold - low) * scale, EDGE + SIDE - (came - low) * scale
