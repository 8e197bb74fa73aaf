"""The topics, and which of them speak Avro."""

from __future__ import annotations

CLICKSTREAM = "clickstream"
IDENTIFIED = "clickstream.identified"
MERGES = "identity.merges"
CUSTOMERS = "customers"
ACTIVITY = "activity"
SIGNALS = "signals"
DECISIONS = "decisions"
DELIVERIES = "deliveries"

CHANNELS = ("email", "sms", "push")


def commands(channel: str) -> str:
    return f"commands.{channel}"


def dead_letters(topic: str) -> str:
    return f"{topic}.dlq"


COMPACTED = frozenset({CUSTOMERS})

# Topics whose records are read in order by a stateful service, and which therefore also carry watermarks and merges.
CHAIN = (IDENTIFIED, ACTIVITY, SIGNALS)

ALL = (CLICKSTREAM, IDENTIFIED, MERGES, CUSTOMERS, ACTIVITY, SIGNALS, DECISIONS, DELIVERIES, *map(commands, CHANNELS))
