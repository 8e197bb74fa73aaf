"""Guards as the sessions service keeps them, for tests without it."""

from __future__ import annotations

from typing import Any

from cartstream.events import read_model
from cartstream.events.read_model import Guard, Guarded
from cartstream.runtime import state_hashes
from cartstream.runtime.store import Checkpoint

ERA = 230


def keep_guard(client: Any, prefix: str, partitions: int, customer_id: str, guard: Guard | None, era: int = ERA) -> None:
    """Writes the head of a sessions state, and a checkpoint that tells of its era, by a Redis client or a pipeline."""
    tag = prefix + read_model.sessions_tag(customer_id, partitions)
    client.set(f"{tag}meta", read_model.encode(Checkpoint(era=era)))
    name, field = state_hashes.place(tag, era, customer_id)
    client.hset(name, field, read_model.encode(Guarded(customer_id, guard)))
