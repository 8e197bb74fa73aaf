"""Contacts as identity keeps them, for tests without it."""

from __future__ import annotations

from typing import Any

from cartstream.events import read_model
from cartstream.events.read_model import Contact, Reachable


def keep_contact(client: Any, prefix: str, customer_id: str, contact: Contact) -> None:
    """Writes the head of the customer's entry in the directory, by a Redis client or a pipeline."""
    client.set(prefix + read_model.node_key(customer_id), read_model.encode(Reachable(contact)))
