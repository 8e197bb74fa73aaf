"""The services by name: those that always run, and those that run where a setting asks for them."""

from __future__ import annotations

SERVICES = ("identity", "sessions", "detection", "journeys", "email", "sms", "push", "insights")
OPTIONAL = ("products",)
"""`products` runs where CARTSTREAM_WATCH_PRODUCTS is set."""
