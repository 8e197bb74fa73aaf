"""The directory: the identity graph as a shared place that every identity process asks. One port, two adapters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from cartstream.events.read_model import ERASED
from cartstream.events.records import Identifier, make_id
from cartstream.events.times import EventTime
from cartstream.identity.correction import Corrected, Correction, Unlink
from cartstream.identity.erasure import erase
from cartstream.identity.graph import link_all
from cartstream.identity.nodes import Linked, LinkRequest, Node, Tomb, View, identifier_name
from cartstream.identity.rules import Rules, default_rules
from cartstream.identity.unlinking import unlink

Seal = Callable[[str, str], bytes]


class Directory(Protocol):
    @property
    def rules(self) -> Rules:
        """What it links by."""

    def link(self, requests: Sequence[LinkRequest]) -> list[Linked]:
        """Apply the requests in order, each atomically; telling one again gives the same answer. Ends with the first answer that is not
        `expected`: those after it are not applied. Raises Unavailable."""

    def correct(self, correction: Correction) -> Corrected:
        """Apply it, atomically; telling it again gives the same answer. Raises Unavailable."""

    def roots(self, customer_ids: Sequence[str]) -> dict[str, str]:
        """Loser → survivor for those of the customers that were merged, ERASED for those erased. Raises Unavailable."""

    def holders(self, identifiers: Sequence[Identifier]) -> dict[str, Node]:
        """Whose each of these is, by `identifier_name`, without those that are nobody's. To read only. Raises Unavailable."""

    def tombs(self, identifiers: Sequence[Identifier]) -> dict[str, Tomb]:
        """Of those that were erased, by `identifier_name`. To read only. Raises Unavailable."""

    def news(self) -> dict[str, str]:
        """As `roots`, for all merges and erasures since the last call, whoever made them; the first call may begin at now. Raises
        Unavailable."""

    def take_erased(self) -> dict[str, EventTime]:
        """When the customers were erased of whom `roots` and `news` have told so since the last call."""

    def forget(self) -> None:
        """Begin with the news anew, as at the first call."""


def applied(view: View, correction: Correction) -> Corrected:
    return unlink(view, correction) if isinstance(correction, Unlink) else erase(view, correction)


def digest_of(identifier: Identifier) -> str:
    """For where nothing is kept: a hash without a key."""
    return make_id("erased", identifier.type, identifier.value)


class MemoryDirectory:
    """In dictionaries: for the in-memory driver, replay and tests. `seal` as in `runtime.vault.Vault.seal`."""

    def __init__(self, seal: Seal = lambda kind, address: f"{kind}:{address}".encode(), rules: Rules | None = None) -> None:
        self.rules = rules or default_rules()
        self._seal = seal
        self._view = View({}, {}, {}, digest_of)
        self._told = self._told_buried = 0
        self._erased: dict[str, EventTime] = {}

    @property
    def nodes(self) -> dict[str, Node]:
        return self._view.nodes

    def link(self, requests: Sequence[LinkRequest]) -> list[Linked]:
        sealed = [{kind: self._seal(kind, text) for kind, text in request.addresses.items()} for request in requests]
        return link_all(self._view, requests, sealed, self.rules)

    def correct(self, correction: Correction) -> Corrected:
        return applied(self._view, correction)

    def roots(self, customer_ids: Sequence[str]) -> dict[str, str]:
        survivors, erased = self._view.survivors(customer_ids)
        self._erased |= erased
        return survivors

    def tombs(self, identifiers: Sequence[Identifier]) -> dict[str, Tomb]:
        names = map(identifier_name, identifiers)
        return {name: self._view.tombs[name] for name in names if name in self._view.tombs}

    def holders(self, identifiers: Sequence[Identifier]) -> dict[str, Node]:
        found = {identifier_name(identifier): self._view.owner(identifier) for identifier in identifiers}
        return {name: node for name, node in found.items() if node is not None}

    def news(self) -> dict[str, str]:
        merges, buried = self._view.merges[self._told :], dict(self._view.buried[self._told_buried :])
        self._told, self._told_buried = len(self._view.merges), len(self._view.buried)
        self._erased |= buried
        return {merge.loser: merge.survivor for merge in merges} | dict.fromkeys(buried, ERASED)

    def take_erased(self) -> dict[str, EventTime]:
        taken, self._erased = self._erased, {}
        return taken

    def forget(self) -> None:
        self._told, self._told_buried = len(self._view.merges), len(self._view.buried)
