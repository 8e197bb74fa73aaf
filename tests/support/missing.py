"""What this machine lacks."""

from __future__ import annotations

from cartstream.errors import CartstreamError


class Missing(CartstreamError):
    """A server can neither be found nor started here. The message says what was tried, and what would help."""
