"""What Redis says is wrong, in words that may be logged."""

from __future__ import annotations

_IN_A_PIPELINE = "of pipeline caused error: "


def told(error: Exception) -> str:
    """The kind of error and the server's words. redis-py puts the failed command before them, arguments and all: those are state."""
    return f"{type(error).__name__}: {str(error).rpartition(_IN_A_PIPELINE)[2]}"
