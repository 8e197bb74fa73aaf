"""The audit: every link that was refused, told without naming anybody."""

from __future__ import annotations

from cartstream.events.records import CorrectedCustomer, Identifier, RefusedLink, make_id
from cartstream.events.times import EventTime
from cartstream.identity.correction import Corrected, Correction, Unlink
from cartstream.identity.nodes import Linked, identifier_name
from cartstream.runtime.vault import AddressHash

_HASHED = frozenset({"email", "phone", "push"})
"""Types whose values are keyed hashes from the start: they stay as the other topics tell them."""


def refused_links(linked: Linked, event_id: str, at: EventTime, hash_address: AddressHash) -> list[RefusedLink]:
    """One record for each identifier that was set aside; their ids depend on the event and the identifier alone."""
    return [
        RefusedLink(
            make_id("refused link", event_id, identifier_name(refusal.identifier)),
            linked.customer_id,
            at,
            event_id,
            refusal.identifier.type,
            _hash_of(refusal.identifier, hash_address),
            refusal.reason,
            refusal.limited,
            refusal.holder,
            refusal.late,
        )
        for refusal in linked.refused
    ]


def corrected_customer(correction: Correction, corrected: Corrected, hash_address: AddressHash) -> CorrectedCustomer:
    subject, kind = correction.subject, "unlinked" if isinstance(correction, Unlink) else "erased"
    return CorrectedCustomer(
        make_id(kind, correction.message_id, corrected.customer_id),
        corrected.customer_id,
        correction.at,
        correction.message_id,
        kind,
        subject.type,
        _hash_of(subject, hash_address),
        corrected.identifiers,
        corrected.devices,
        corrected.into,
    )


def _hash_of(identifier: Identifier, hash_address: AddressHash) -> str:
    return identifier.value if identifier.type in _HASHED else hash_address(identifier.type, identifier.value)
