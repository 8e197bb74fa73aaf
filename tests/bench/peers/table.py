"""The rows of a run, for people: who is how fast, at what cost, and how cartstream compares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

HEADINGS = (
    "engine",
    "guarantee",
    "state",
    "correct",
    "events/s warm",
    "cold",
    "CPU s/M warm: engine",
    "broker",
    "Redis",
    "all",
    "peak MiB",
    "cores of others",
    "cartstream: rate",
    "CPU",
    "memory",
)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown. The last three columns are cartstream's figure over the engine's, all processes but the broker for memory."""
    ran = [row for row in rows if "warm" in row]
    ours = next((row for row in ran if row["name"] == "cartstream"), None)
    lines = [HEADINGS, ("---",) * len(HEADINGS), *[_cells(row, ours) for row in ran]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cells(row: dict[str, Any], ours: dict[str, Any] | None) -> tuple[str, ...]:
    warm, cold, check = row["warm"], row["cold"], row["check"]
    cpu = warm["cpu_s_per_million"]
    return (
        row["name"],
        row["guarantee"],
        row["state"],
        "yes" if check["correct"] else "NO",
        f"{warm['events_per_s']:,}",
        f"{cold['events_per_s']:,}" if cold else "–",
        f"{cpu['engine']:.1f}",
        f"{cpu['broker']:.1f}",
        f"{cpu['redis']:.1f}" if "redis" in cpu else "–",
        f"{sum(cpu.values()):.1f}",
        " + ".join(str(mib) for name, mib in row["peak_mib"].items() if name != "broker"),
        f"{warm['cores_used_by_others']:.1f}",
        *(_ratios(row, ours) if ours is not None else ("–",) * 3),
    )


def _ratios(row: dict[str, Any], ours: dict[str, Any]) -> tuple[str, ...]:
    pairs = (
        (ours["warm"]["events_per_s"], row["warm"]["events_per_s"]),
        (sum(ours["warm"]["cpu_s_per_million"].values()), sum(row["warm"]["cpu_s_per_million"].values())),
        (_memory(ours), _memory(row)),
    )
    return tuple(f"× {mine / theirs:.2f}" for mine, theirs in pairs)


def _memory(row: dict[str, Any]) -> int:
    return sum(mib for name, mib in row["peak_mib"].items() if name != "broker")
