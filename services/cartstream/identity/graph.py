"""The identity graph: which identifiers belong to which customer. Pure, over nodes that were fetched before.

A link is a fact that may be told any number of times, by any process, in any order: telling it again gives the same answer,
with the merges and the customer record that it caused the first time. So a crash between the graph's write and the partition's
loses nothing and repeats nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from cartstream.events.records import Identifier, Merge
from cartstream.events.times import DAY, EventTime
from cartstream.identity.erasure import as_of, bury, is_concealed
from cartstream.identity.limits import obstacle, refusal
from cartstream.identity.nodes import (
    Absorbed,
    Linked,
    LinkRequest,
    Node,
    Refusal,
    Tie,
    View,
    customer_id_of,
    device_named,
    identifier_name,
    is_expected,
)
from cartstream.identity.rules import Rules
from cartstream.identity.unlinking import joined_again

TELL_AGAIN = 30 * DAY
"""A customer who identifies is told of again after so long, so that no later service forgets the consent."""
EARLIER_KEPT = 8


def link_all(view: View, requests: Sequence[LinkRequest], sealed: Sequence[dict[str, bytes]], rules: Rules) -> list[Linked]:
    """In order, up to the first answer that is not the expected one."""
    answers: list[Linked] = []
    for request, addresses in zip(requests, sealed, strict=True):
        linked = link(view, request, addresses, rules)
        answers.append(linked)
        if not is_expected(request, linked):
            break
    return answers


def link(view: View, request: LinkRequest, sealed: dict[str, bytes], rules: Rules) -> Linked:
    """Apply one request. `sealed` has the request's addresses as they may be stored.

    None found: create. One: attach. Several: merge, unless a limit forbids it: then the weakest identifier that stands in the way
    is set aside. A device whose customer is somebody else's stays out of it: it is never guessed.
    """
    concealed: dict[Identifier, Identifier] = {}
    if view.tombs:
        request, concealed = as_of(view, request)
        sealed = {kind: value for kind, value in sealed.items() if kind in request.addresses}
    device = device_named(request.device_id)
    _date(view, request, device)
    candidates, refused = _candidates(view, request, device, rules)
    refused = [replace(one, identifier=concealed.get(one.identifier, one.identifier)) for one in refused]
    owners = _owners(view, candidates, request, device)
    if any(owner.erased for owner in owners):
        return _forgotten(view, owners, candidates, request, refused)
    before = {owner.customer_id: owner.told() for owner in owners}
    ties = _ties(view, candidates, request)
    node = _merged(view, owners, candidates, request)
    known_since = _known_since(node, candidates) if any(tie.at > request.at for tie in node.ties) else {}
    node.ties += ties
    attached = _attach(view, node, candidates)
    late = _earlier(view, node, known_since, request, rules)
    stale = request.at - node.changed_at > TELL_AGAIN
    if _learn(view, node, request, sealed) or attached or stale:
        node.changed_at, node.changed_by = max(node.changed_at, request.at), request.event_id
        view.dirty_nodes.add(node.customer_id)
    last = before.get(node.customer_id)
    if last is not None and last.event_id not in ("", node.changed_by):
        node.earlier = [*node.earlier, last][-EARLIER_KEPT:]
    record = node.record(request.event_id)
    return Linked(node.customer_id, device in candidates, _merges(node, request), record, refused, node.size, late)


def _merges(node: Node, request: LinkRequest) -> list[Merge]:
    return [
        Merge(gone.loser, node.customer_id, gone.at, gone.event_id, gone.identifier_type)
        for gone in node.absorbed
        if gone.event_id == request.event_id
    ]


def _forgotten(view: View, owners: list[Node], candidates: list[Identifier], request: LinkRequest, refused: list[Refusal]) -> Linked:
    """An event from before an erasure that is the erased customer's: who turns out to be the same is erased, too."""
    at, command_id = max((owner.changed_at, owner.changed_by) for owner in owners if owner.erased)
    view.buried += [(owner.customer_id, at) for owner in owners if not owner.erased]
    node = _merged(view, owners, candidates, request)
    _attach(view, node, candidates)
    if any(not is_concealed(identifier) for identifier in (*node.identifiers, *map(device_named, node.devices))):
        bury(view, node, at, command_id)
    else:
        node.changed_at, node.changed_by = at, command_id
        node.ties = [tie for tie in node.ties if tie.is_mark]
    node = view.nodes[node.customer_id]
    owns_device = device_named(request.device_id) in candidates
    return Linked(node.customer_id, owns_device, _merges(node, request), None, refused, erased_at=at)


def _candidates(view: View, request: LinkRequest, device: Identifier, rules: Rules) -> tuple[list[Identifier], list[Refusal]]:
    """The identifiers that may be one customer's, the strongest first, and those set aside."""
    candidates: list[Identifier] = []
    refused: list[Refusal] = []
    for identifier in rules.strongest_first([*request.identifiers, device]):
        together = [*candidates, identifier]
        owners = _owners(view, together, request, device)
        found = obstacle(rules, owners, together, request.at)
        if found is None:
            candidates = together
        else:
            refused.append(refusal(identifier, found, owners, view.owner(identifier), request.at))
    return candidates, refused


def _date(view: View, request: LinkRequest, device: Identifier) -> None:
    """A device's first event may turn out to be an earlier one, and so its customer's."""
    node = view.owner(device) or view.root(request.device_customer)
    if node is not None and request.device_first_seen < node.first_seen:
        node.first_seen = request.device_first_seen
        view.dirty_nodes.add(node.customer_id)


def _owners(view: View, candidates: list[Identifier], request: LinkRequest, device: Identifier) -> list[Node]:
    found: dict[str, Node] = {}
    for identifier in candidates:
        node = view.owner(identifier)
        if node is None and identifier == device:
            node = view.root(request.device_customer) or view.new(request.device_customer, request.device_first_seen)
        if node is not None:
            found[node.customer_id] = node
    return list(found.values())


def _ties(view: View, candidates: list[Identifier], request: LinkRequest) -> list[Tie]:
    """What this event joins that was apart: a tie from each such identifier to the strongest."""
    strongest = identifier_name(candidates[0])
    owner = view.owner(candidates[0])
    if len(candidates) == 1:
        return [] if owner is not None else [Tie(strongest, "", request.event_id, request.at)]
    joined = {owner.customer_id} if owner is not None else set()
    ties = []
    for identifier in candidates[1:]:
        owner = view.owner(identifier)
        if owner is None or owner.customer_id not in joined:
            ties.append(Tie(identifier_name(identifier), strongest, request.event_id, request.at))
        if owner is not None:
            joined.add(owner.customer_id)
    return ties


def _known_since(node: Node, candidates: list[Identifier]) -> dict[Identifier, EventTime | None]:
    """None: it is not the customer's yet."""
    return {identifier: node.since(identifier.type).get(identifier_name(identifier)) for identifier in candidates}


def _earlier(view: View, node: Node, known_since: dict[Identifier, EventTime | None], request: LinkRequest, rules: Rules) -> list[str]:
    """Identifiers may turn out to be the customer's from earlier on than was known before this event. The types of which there are too
    many at one time now: some would have been refused, had this event come before them. Or there was no room for one more at the time
    that was taken for theirs: whoever was refused then might have been let in."""
    found = []
    for identifier, known in known_since.items():
        rule = rules.rule_of(identifier.type)
        if rule is None or rule.within is None:
            continue
        name, since = identifier_name(identifier), node.since(identifier.type)
        if request.at < since[name]:
            node.ties = [tie for tie in node.ties if tie.name != name or tie.to]
            node.ties.append(Tie(name, "", request.event_id, request.at))
            view.dirty_nodes.add(node.customer_id)
        if known is not None and request.at < known:
            others = [(at, node.customer_id) for other, at in since.items() if other != name]
            as_known = [*others, (known, node.customer_id)]
            if not (rules.allows(identifier.type, [*others, (request.at, "")]) and rules.allows(identifier.type, [*as_known, (known, "")])):
                found.append(identifier.type)
    return found


def _merged(view: View, owners: list[Node], candidates: list[Identifier], request: LinkRequest) -> Node:
    """The survivor is the oldest by first event time, then by id; of the erased and others an erased one."""
    if not owners:
        strongest = candidates[0]
        tomb = view.tombs.get(identifier_name(strongest))
        return view.new(customer_id_of(strongest, tomb.at if tomb is not None else 0), request.at)
    survivor, *losers = sorted(owners, key=lambda node: (not node.erased, node.first_seen, node.customer_id))
    for loser in losers:
        _absorb(survivor, loser, request, candidates[0].type)
        view.dirty_nodes.update((survivor.customer_id, loser.customer_id))
        if not survivor.erased:
            view.merges.append(Merge(loser.customer_id, survivor.customer_id, request.at, request.event_id, candidates[0].type))
    return survivor


def _absorb(survivor: Node, loser: Node, request: LinkRequest, identifier_type: str) -> None:
    survivor.known = survivor.parts + loser.parts
    survivor.identifiers = sorted({*survivor.identifiers, *loser.identifiers})
    survivor.devices = sorted({*survivor.devices, *loser.devices})
    survivor.ties = joined_again(survivor.ties + loser.ties)
    survivor.absorbed += [*loser.absorbed, Absorbed(loser.customer_id, request.event_id, request.at, identifier_type)]
    for channel, (said, at) in loser.consent.items():
        _consent(survivor, channel, said, at)
    for kind, (sealed, at) in loser.contacts.items():
        if kind not in survivor.contacts or at > survivor.contacts[kind][1]:
            survivor.contacts[kind] = (sealed, at)
    survivor.timezone = survivor.timezone or loser.timezone
    survivor.locale = survivor.locale or loser.locale
    survivor.changed_at, survivor.changed_by = max(survivor.changed_at, loser.changed_at, request.at), request.event_id
    loser.merged_into = survivor.customer_id
    loser.identifiers, loser.devices, loser.absorbed, loser.contacts, loser.consent = [], [], [], {}, {}
    loser.ties, loser.known = [], 0


def _attach(view: View, node: Node, candidates: list[Identifier]) -> bool:
    changed = False
    for identifier in candidates:
        name = identifier_name(identifier)
        if view.owners.get(name) != node.customer_id:
            view.owners[name] = node.customer_id
            view.dirty_owners.add(name)
        if identifier.type == "device" and identifier.value not in node.devices:
            node.devices = sorted([*node.devices, identifier.value])
            changed = True
        elif identifier.type != "device" and identifier not in node.identifiers:
            node.identifiers = sorted([*node.identifiers, identifier])
            node.known = max(node.known, 1)
            changed = True
    return changed


def _consent(node: Node, channel: str, said: bool, at: EventTime) -> bool:
    """The later word counts; at the same moment a revocation does. So a merge revokes unless there is a strictly later opt-in."""
    known = node.consent.get(channel)
    if known is not None and (at < known[1] or (at == known[1] and not known[0])):
        return False
    node.consent[channel] = (said, at)
    return known is None or known[0] != said


def _learn(view: View, node: Node, request: LinkRequest, sealed: dict[str, bytes]) -> bool:
    """Consent, time zone, locale and ways to reach the customer. True if the customer record changes."""
    changed = False
    if request.consent or sealed:
        view.dirty_nodes.add(node.customer_id)
    for channel, said in request.consent.items():
        changed |= _consent(node, channel, said, request.at)
    for kind, value in sealed.items():
        if kind not in node.contacts or request.at > node.contacts[kind][1]:
            changed |= kind not in node.contacts
            node.contacts[kind] = (value, request.at)
    if request.timezone and request.timezone != node.timezone and request.at >= node.changed_at:
        node.timezone, changed = request.timezone, True
    if request.locale and request.locale != node.locale and request.at >= node.changed_at:
        node.locale, changed = request.locale, True
    return changed
