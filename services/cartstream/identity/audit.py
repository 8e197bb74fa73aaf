"""The audit: every link that was refused, told without naming anybody."""

from __future__ import annotations

from cartstream.events.records import Identifier, RefusedLink, make_id
from cartstream.events.times import EventTime
from cartstream.identity.nodes import Linked, identifier_name
from cartstream.runtime.vault import AddressHash

_HASHED = frozenset({"email", "phone", "push"})
"""Types whose values are keyed hashes from the start: they stay as the other topics tell them."""


def refused_links(linked: Linked, event_id: str, at: EventTime, hash_address: AddressHash) -> list[RefusedLink]:
    """One record for each identifier that was set aside; their ids depend on the event and the identifier alone."""

    def told(identifier: Identifier) -> str:
        return identifier.value if identifier.type in _HASHED else hash_address(identifier.type, identifier.value)

    return [
        RefusedLink(
            make_id("refused link", event_id, identifier_name(refusal.identifier)),
            linked.customer_id,
            at,
            event_id,
            refusal.identifier.type,
            told(refusal.identifier),
            refusal.reason,
            refusal.limited,
            refusal.holder,
            refusal.late,
        )
        for refusal in linked.refused
    ]
