"""CPU time an event or a message, drawn from the benchmarks' JSON lines: `python -m tests.bench.plot FILE… > picture.svg`."""

from __future__ import annotations

import json
import sys
from html import escape
from pathlib import Path
from typing import Any

WIDTH, LABEL, ROW, GAP = 760, 190, 26, 12
COLOURS = {"service": "#2563eb", "engine": "#2563eb", "sender": "#2563eb", "broker": "#d97706", "redis": "#dc2626", "fake": "#9ca3af"}
PARTS = ("service", "engine", "sender", "broker", "redis", "fake")


def bars(lines: list[dict[str, Any]]) -> list[tuple[str, dict[str, float]]]:
    """(name, µs of CPU time an event or message by part) of every line that tells of them."""
    found = []
    for line in lines:
        cost = line.get("cpu_s_per_million") or line.get("warm", {}).get("cpu_s_per_million")
        if cost:
            found.append((f"{line['name']}, an event", dict(cost)))
        elif "cpu_us_per_message" in line:
            found.append((f"{line['name']}, a message", dict(line["cpu_us_per_message"])))
    return found


def draw(groups: list[list[tuple[str, dict[str, float]]]]) -> str:
    """An SVG: each group of bars has a scale of its own."""
    rows: list[str] = []
    y = 44
    for group in groups:
        longest = max(sum(cost.values()) for _, cost in group)
        for name, cost in group:
            rows += _bar(name, cost, y, (WIDTH - LABEL - 90) / longest)
            y += ROW + GAP
        y += GAP * 2
    legend = [_key(part, x) for part, x in (("service", LABEL), ("broker", LABEL + 130), ("redis", LABEL + 230), ("fake", LABEL + 320))]
    style = "font-family='sans-serif' font-size='13' fill='#374151'"
    head = f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{y}' viewBox='0 0 {WIDTH} {y}' {style}>"
    return "\n".join([head, f"<rect width='{WIDTH}' height='{y}' fill='#ffffff'/>", *legend, *rows, "</svg>"]) + "\n"


def _bar(name: str, cost: dict[str, float], y: int, scale: float) -> list[str]:
    out = [f"<text x='{LABEL - 10}' y='{y + 18}' text-anchor='end'>{escape(name)}</text>"]
    x = float(LABEL)
    for part in PARTS:
        width = cost.get(part, 0.0) * scale
        if width:
            out.append(f"<rect x='{x:.1f}' y='{y}' width='{width:.1f}' height='{ROW}' fill='{COLOURS[part]}'/>")
            x += width
    return [*out, f"<text x='{x + 8:.1f}' y='{y + 18}'>{sum(cost.values()):.1f} µs</text>"]


def _key(part: str, x: int) -> str:
    name = {"service": "service or sender", "redis": "Redis", "broker": "Kafka", "fake": "fake provider"}[part]
    return f"<rect x='{x}' y='14' width='14' height='14' fill='{COLOURS[part]}'/><text x='{x + 20}' y='26'>{name}</text>"


def main(files: list[str]) -> int:
    lines = [json.loads(line) for file in files for line in Path(file).read_text().splitlines() if line.startswith("{")]
    events = [bar for bar in bars(lines) if bar[0].endswith("an event")]
    messages = [bar for bar in bars(lines) if bar[0].endswith("a message")]
    if not (events or messages):
        print("no benchmark line with CPU times in these files: run `make bench | tee FILE`", file=sys.stderr)
        return 2
    sys.stdout.write(draw([group for group in (events, messages) if group]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
