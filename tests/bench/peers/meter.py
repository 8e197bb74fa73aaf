"""Rate, processor time and memory of a run, all seen from outside, in the same way for every engine."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
COLD = 1_000_000
"""Clicks that a JVM takes, more or less, to compile what is hot."""


@dataclass(frozen=True, slots=True)
class Sample:
    """After `clicks`: the moment, and seconds of processor time by process, and of the whole machine (`busy`)."""

    clicks: float
    at: float
    cpu: Mapping[str, float]
    busy: float


class Meter:
    """Watches processes by name, as long as they live."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids
        self.samples: list[Sample] = []
        self.peak_mib: dict[str, int] = {}

    def sample(self, clicks: float) -> None:
        cpu = {name: _cpu_seconds(pid) for name, pid in self._pids.items()}
        self.samples.append(Sample(clicks, time.perf_counter(), cpu, _busy_seconds()))
        self.peak_mib = {name: _peak_mib(pid) for name, pid in self._pids.items()}

    def figures(self) -> dict[str, Any]:
        """The whole run, its first million (cold) if there were more, and its second half (warm)."""
        total = self.samples[-1].clicks
        return {
            "whole": stretch(self.samples, 0, total),
            "cold": stretch(self.samples, 0, COLD) if total > COLD else None,
            "warm": stretch(self.samples, total / 2, total),
            "peak_mib": self.peak_mib,
        }


def stretch(samples: Sequence[Sample], first: float, last: float) -> dict[str, Any]:
    """From the first sample with `first` clicks to the first with `last`."""
    begin = next(sample for sample in samples if sample.clicks >= first)
    end = next(sample for sample in samples if sample.clicks >= last)
    clicks, seconds = end.clicks - begin.clicks, end.at - begin.at
    used = {name: end.cpu[name] - begin.cpu[name] for name in end.cpu}
    return {
        "events_per_s": round(clicks / seconds),
        "cpu_s_per_million": {name: round(cpu / clicks * 1e6, 1) for name, cpu in used.items()},
        "cores_used_by_others": round((end.busy - begin.busy - sum(used.values())) / seconds, 2),
    }


def _cpu_seconds(pid: int) -> float:
    """User and system time, with that of children that have ended (Redis rewrites its file in one)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


def _busy_seconds() -> float:
    user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + irq + softirq) / TICKS


def _peak_mib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    raise RuntimeError(f"process {pid} has ended")
