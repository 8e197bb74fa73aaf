"""Erasure in the graph, pure: what stays of a customer is a node of keyed hashes, so that whatever comes late is known for theirs.

To an event of up to the erasure, the erased identifiers are those of that node, and it links like any other, by the same limits: who turns
out to have been the same person is erased, too. To a later event they are nobody's, and whoever it makes is a new customer.
"""

from __future__ import annotations

from msgspec.structs import replace

from cartstream.events.read_model import ERASED
from cartstream.events.records import Identifier
from cartstream.events.times import EventTime
from cartstream.identity.correction import Corrected, Erase
from cartstream.identity.nodes import (
    DEVICE,
    Absorbed,
    LinkRequest,
    Node,
    Tomb,
    View,
    customer_id_of,
    device_named,
    identifier_name,
)
from cartstream.identity.state import anonymous_customer

_MARK = "erased#"


def as_of(view: View, request: LinkRequest) -> tuple[LinkRequest, dict[Identifier, Identifier]]:
    """The request with the names that its identifiers had when it happened; and, by those that are erased ones, what they stand for."""
    concealed: dict[Identifier, Identifier] = {}
    identifiers = [_then(view, identifier, request.at, concealed) for identifier in request.identifiers]
    device = _then(view, device_named(request.device_id), request.at, concealed)
    lost = {identifier.type for identifier in concealed.values()}
    tomb = view.tombs.get(identifier_name(device))
    customer, first_seen = request.device_customer, request.device_first_seen
    if tomb is not None:
        customer, first_seen = anonymous_customer(request.device_id, tomb.at), max(first_seen, tomb.at + 1)
    addresses = {kind: address for kind, address in request.addresses.items() if kind not in lost}
    return (
        replace(
            request,
            device_id=device.value,
            device_customer=customer,
            device_first_seen=first_seen,
            identifiers=identifiers,
            addresses=addresses,
        ),
        concealed,
    )


def _then(view: View, identifier: Identifier, at: EventTime, concealed: dict[Identifier, Identifier]) -> Identifier:
    tomb = view.tombs.get(identifier_name(identifier))
    if tomb is None or at > tomb.at:
        return identifier
    gone = _conceal(view, identifier)
    concealed[gone] = identifier
    view.owners[identifier_name(gone)] = tomb.customer_id
    if view.root(tomb.customer_id) is None:
        node = view.new(tomb.customer_id, tomb.at)
        node.merged_into, node.changed_at = ERASED, tomb.at
    return gone


def erase(view: View, erasure: Erase) -> Corrected:
    """Whoever has the identifier is nobody from then on. If nobody has, whoever turns out to have had it by then."""
    identifier, at = erasure.subject, erasure.at
    name = identifier_name(identifier)
    tomb = view.tombs.get(name)
    if tomb is not None and tomb.at >= at and (node := view.root(tomb.customer_id)) is not None:
        return _corrected(node, again=True)
    node = view.owner(identifier)
    if node is None:
        node = _only_known_by(view, identifier, at)
        view.owners[name] = node.customer_id
        if identifier.type == DEVICE:
            node.devices = [identifier.value]
        else:
            node.identifiers = [identifier]
    node.absorbed = [Absorbed(gone.loser, "", gone.at, gone.identifier_type) for gone in node.absorbed]
    bury(view, node, at, erasure.message_id)
    return _corrected(view.nodes[node.customer_id])


def _only_known_by(view: View, identifier: Identifier, at: EventTime) -> Node:
    tomb = view.tombs.get(identifier_name(identifier))
    customer_id = first_customer(identifier, tomb.at if tomb is not None else 0)
    return view.new(first_customer(identifier, at) if customer_id in view.nodes else customer_id, at)


def first_customer(identifier: Identifier, before: EventTime = 0) -> str:
    """Of one who is known by nothing else, since it was erased `before`."""
    return anonymous_customer(identifier.value, before) if identifier.type == DEVICE else customer_id_of(identifier, before)


def bury(view: View, node: Node, at: EventTime, command_id: str) -> None:
    """Leave nothing of a node but hashes."""
    told = [*node.identifiers, *map(device_named, node.devices)]
    for identifier in told:
        if not is_concealed(identifier):
            name = identifier_name(identifier)
            view.owners.pop(name, None)
            view.dirty_owners.add(name)
            view.tombs[name] = Tomb(at, node.customer_id)
            view.dirty_tombs.add(name)
    kept = [_conceal(view, identifier) for identifier in told]
    view.nodes[node.customer_id] = Node(
        node.customer_id,
        node.first_seen,
        sorted(identifier for identifier in kept if identifier.type != DEVICE),
        sorted(identifier.value for identifier in kept if identifier.type == DEVICE),
        node.absorbed,
        changed_at=at,
        ties=[tie for tie in node.ties if tie.is_mark],
        changed_by=command_id,
        merged_into=ERASED,
        known=node.known,
    )
    view.dirty_nodes.add(node.customer_id)
    view.buried.append((node.customer_id, at))


def is_concealed(identifier: Identifier) -> bool:
    return identifier.value.startswith(_MARK)


def _conceal(view: View, identifier: Identifier) -> Identifier:
    if is_concealed(identifier):
        return identifier
    return Identifier(identifier.type, _MARK + view.conceal(identifier))


def _corrected(node: Node, *, again: bool = False) -> Corrected:
    customers = [node.customer_id, *(gone.loser for gone in node.absorbed)]
    return Corrected(node.customer_id, node.changed_at, customers, len(node.identifiers), len(node.devices), again)
