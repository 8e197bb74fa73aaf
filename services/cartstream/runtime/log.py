"""Logs: one line an event, JSON for machines; no record content, no address."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog


def configure(level: str, style: str, **context: Any) -> None:
    """Once at start. `context` stands on every line (service, instance)."""
    renderer: Any = structlog.dev.ConsoleRenderer() if style == "console" else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(**context)


def logger() -> Any:
    return structlog.get_logger()
