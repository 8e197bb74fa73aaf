"""The directory: the identity graph as a shared place that every identity process asks. One port, two adapters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from cartstream.events.records import Identifier
from cartstream.identity.graph import link
from cartstream.identity.nodes import Linked, LinkRequest, Node, View, identifier_name
from cartstream.identity.rules import Rules, default_rules

Seal = Callable[[str, str], bytes]


class Directory(Protocol):
    @property
    def rules(self) -> Rules:
        """What it links by."""

    def link(self, requests: Sequence[LinkRequest]) -> list[Linked]:
        """Apply the requests in order, each atomically; telling one again gives the same answer. Raises Unavailable."""

    def roots(self, customer_ids: Sequence[str]) -> dict[str, str]:
        """Loser → survivor for those of the customers that were merged. Raises Unavailable."""

    def holders(self, identifiers: Sequence[Identifier]) -> dict[str, Node]:
        """Whose each of these is, by `identifier_name`, without those that are nobody's. To read only. Raises Unavailable."""

    def news(self) -> dict[str, str]:
        """Loser → survivor for the merges since the last call, whoever made them; the first call may begin at now. Raises Unavailable."""

    def forget(self) -> None:
        """Begin with the news anew, as at the first call."""


class MemoryDirectory:
    """In dictionaries: for the in-memory driver, replay and tests. `seal` as in `runtime.vault.Vault.seal`."""

    def __init__(self, seal: Seal = lambda kind, address: f"{kind}:{address}".encode(), rules: Rules | None = None) -> None:
        self.rules = rules or default_rules()
        self._seal = seal
        self._view = View({}, {})
        self._told = 0

    @property
    def nodes(self) -> dict[str, Node]:
        return self._view.nodes

    def link(self, requests: Sequence[LinkRequest]) -> list[Linked]:
        return [
            link(self._view, request, {kind: self._seal(kind, text) for kind, text in request.addresses.items()}, self.rules)
            for request in requests
        ]

    def roots(self, customer_ids: Sequence[str]) -> dict[str, str]:
        found = {customer_id: self._view.root(customer_id) for customer_id in customer_ids}
        return {customer_id: node.customer_id for customer_id, node in found.items() if node and node.customer_id != customer_id}

    def holders(self, identifiers: Sequence[Identifier]) -> dict[str, Node]:
        found = {identifier_name(identifier): self._view.owner(identifier) for identifier in identifiers}
        return {name: node for name, node in found.items() if node is not None}

    def news(self) -> dict[str, str]:
        merges = self._view.merges[self._told :]
        self._told += len(merges)
        return {merge.loser: merge.survivor for merge in merges}

    def forget(self) -> None:
        self._told = len(self._view.merges)
