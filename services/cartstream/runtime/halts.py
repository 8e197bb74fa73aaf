"""Partitions that must not go on."""

from __future__ import annotations

from cartstream.runtime.health import Health
from cartstream.runtime.log import logger
from cartstream.runtime.progress import Progress


class Halts:
    """Why each one stopped: in the log, in readiness, and counted. The others go on."""

    def __init__(self, health: Health, progress: Progress) -> None:
        self._health = health
        self._progress = progress
        self._why: dict[int, str] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._why

    def add(self, number: int, why: str) -> None:
        logger().error("partition stopped", partition=number, why=why)
        self._why[number] = why
        self._show()

    def drop(self, numbers: list[int]) -> None:
        """They are no longer ours."""
        for number in numbers:
            self._why.pop(number, None)
        self._show()

    def _show(self) -> None:
        self._progress.halted(len(self._why))
        self._health.stuck("; ".join(self._why.values()) or None)
