"""The topics, and which of them speak Avro."""

from __future__ import annotations

CLICKSTREAM = "clickstream"
IDENTIFIED = "clickstream.identified"
MERGES = "identity.merges"
AUDIT = "identity.audit"
CUSTOMERS = "customers"
ACTIVITY = "activity"
SIGNALS = "signals"
DECISIONS = "decisions"
DELIVERIES = "deliveries"
PRODUCTS = "products"

CHANNELS = ("email", "sms", "push")


def commands(channel: str) -> str:
    return f"commands.{channel}"


def dead_letters(topic: str) -> str:
    return f"{topic}.dlq"


COMPACTED = frozenset({CUSTOMERS, PRODUCTS})

ALL = (CLICKSTREAM, IDENTIFIED, MERGES, AUDIT, CUSTOMERS, ACTIVITY, SIGNALS, DECISIONS, DELIVERIES, PRODUCTS, *map(commands, CHANNELS))
