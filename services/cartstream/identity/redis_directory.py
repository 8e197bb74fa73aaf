"""The directory in Redis, in one slot: `{identity}`. Many processes may link at once: each watches just the keys it touches.

| key | value |
|---|---|
| `{identity}:id:<type>:<value>` | the customer that the identifier was first given to (follow its node), as in `layouts.py` |
| `{identity}:node:<customer>` | the customer as in `layouts.py`; how it begins is public: `read_model.Reachable` |
| `{identity}:contact:<customer>` | msgpack `Contact`; what releases before this one wrote beside the node, gone with its next write |
| `{identity}:merges` | stream of merges and erasures, for the other processes' caches |
| `{identity}:erased:<type>:<keyed hash>` | msgpack `Tomb` of an identifier that was erased |
| `{identity}:erasures` | how many erasures there were; without it nobody asks for tombs |
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec
import redis

from cartstream.errors import Unavailable
from cartstream.events import read_model
from cartstream.events.records import Identifier
from cartstream.events.times import EventTime
from cartstream.identity.correction import Corrected, Correction, Unlink
from cartstream.identity.directory import Seal, applied, digest_of
from cartstream.identity.erasure import first_customer
from cartstream.identity.graph import link_all
from cartstream.identity.layouts import decode_node, decode_owner, encode_node, encode_owner
from cartstream.identity.nodes import (
    Conceal,
    Linked,
    LinkRequest,
    Node,
    Tomb,
    View,
    device_named,
    identifier_name,
    identifier_named,
    is_expected,
)
from cartstream.identity.rules import Rules, default_rules
from cartstream.runtime.redis_ask import ask
from cartstream.runtime.redis_errors import told
from cartstream.runtime.redis_lives import Lives

CHUNK = 200
MERGES_KEPT = 100_000
HOPS = 16
_TRIES = 50

_encode = msgspec.msgpack.Encoder().encode
_decode_tomb = msgspec.msgpack.Decoder(Tomb).decode
T = TypeVar("T")


class RedisDirectory:
    """`ttl_s` is how long an untouched customer stays. News are asked for every `news_s` at most: whoever has not heard of a merge
    sends to the loser, which forwards.

    Nothing is changed while it is in doubt, by `lives`, whether the askers know what Redis has lost: what they say may follow from that."""

    def __init__(
        self,
        client: redis.Redis,
        prefix: str,
        seal: Seal,
        ttl_s: int,
        news_s: float = 0.05,
        rules: Rules | None = None,
        conceal: Conceal = digest_of,
        lives: Lives | None = None,
    ) -> None:
        self.rules = rules or default_rules()
        self._redis = client
        self._root = prefix + "{identity}:"
        self._prefix = prefix
        self._seal = seal
        self._ttl_s = ttl_s
        self._heard: bytes | None = None
        self._news_s = news_s
        self._asked_at = -news_s
        self._conceal = conceal
        self._lives = lives
        self._erased: dict[str, EventTime] = {}

    def link(self, requests: Sequence[LinkRequest]) -> list[Linked]:
        answers: list[Linked] = []
        for start in range(0, len(requests), CHUNK):
            answers += self._link_chunk(requests[start : start + CHUNK])
            if not is_expected(requests[len(answers) - 1], answers[-1]):
                break
        return answers

    def roots(self, customer_ids: Sequence[str]) -> dict[str, str]:
        if not customer_ids:
            return {}
        try:
            view = View(self._nodes(set(customer_ids), {}, self._redis.mget), {}, {}, self._conceal)
        except redis.RedisError as error:
            raise _unavailable(error) from error
        survivors, erased = view.survivors(customer_ids)
        self._erased |= erased
        return survivors

    def tombs(self, identifiers: Sequence[Identifier]) -> dict[str, Tomb]:
        try:
            found: Any = self._redis.mget(self._tomb_keys(identifiers)) if identifiers else []
        except redis.RedisError as error:
            raise _unavailable(error) from error
        return {identifier_name(one): _decode_tomb(raw) for one, raw in zip(identifiers, found, strict=True) if raw}

    def holders(self, identifiers: Sequence[Identifier]) -> dict[str, Node]:
        names = [identifier_name(identifier) for identifier in identifiers]
        try:
            found: Any = self._redis.mget([f"{self._root}id:{name}" for name in names]) if names else []
            owned = {name: decode_owner(owner) for name, owner in zip(names, found, strict=True) if owner}
            view = View(self._nodes(set(owned.values()), {}, self._redis.mget), owned, {}, self._conceal)
        except redis.RedisError as error:
            raise _unavailable(error) from error
        nodes = {identifier_name(identifier): view.owner(identifier) for identifier in identifiers}
        return {name: node for name, node in nodes.items() if node is not None}

    def news(self) -> dict[str, str]:
        if time.monotonic() - self._asked_at < self._news_s:
            return {}
        self._asked_at = time.monotonic()
        try:
            if self._heard is None:
                self._heard = self._last_told()
                return {}
            entries: Any = self._redis.xrange(self._root + "merges", min=b"(" + self._heard)
        except redis.RedisError as error:
            raise _unavailable(error) from error
        if entries:
            self._heard = entries[-1][0]
        told = {fields[b"l"].decode(): fields for _, fields in entries}
        self._erased |= {loser: int(fields[b"e"]) for loser, fields in told.items() if b"e" in fields}
        return {loser: fields.get(b"s", b"").decode() for loser, fields in told.items()}

    def take_erased(self) -> dict[str, EventTime]:
        taken, self._erased = self._erased, {}
        return taken

    def forget(self) -> None:
        self._heard = None

    def _last_told(self) -> bytes:
        last: Any = self._redis.xrevrange(self._root + "merges", count=1)
        return bytes(last[0][0]) if last else b"0-0"

    def _link_chunk(self, requests: Sequence[LinkRequest]) -> list[Linked]:
        sealed = [{kind: self._seal(kind, text) for kind, text in request.addresses.items()} for request in requests]
        named = {identifier for request in requests for identifier in (*request.identifiers, device_named(request.device_id))}

        def apply(view: View) -> list[Linked]:
            return link_all(view, requests, sealed, self.rules)

        return self._change(named, {request.device_customer for request in requests}, apply)

    def correct(self, correction: Correction) -> Corrected:
        names = {*correction.moved, *correction.kept} if isinstance(correction, Unlink) else {correction.identifier}
        named = set(map(identifier_named, names))
        return self._change(named, set(map(first_customer, named)), lambda view: applied(view, correction), may_be_erased=True)

    def _change(self, named: set[Identifier], customers: set[str], apply: Callable[[View], T], *, may_be_erased: bool = False) -> T:
        for _ in range(_TRIES):
            try:
                with self._redis.pipeline(transaction=True) as pipe:
                    view = self._watch(pipe, named, customers, may_be_erased)
                    if self._lives is not None and self._lives.doubt:
                        raise Unavailable(
                            "Redis (identity directory): met for the first time, or started again; first to be seen is what it has lost"
                        )
                    answer = apply(view)
                    pipe.multi()
                    self._write(pipe, view)
                    pipe.execute()
                    return answer
            except redis.WatchError:
                continue
            except redis.RedisError as error:
                raise _unavailable(error) from error
        raise Unavailable(f"the identity directory changed under {_TRIES} tries: too many processes link the same customers at once")

    def _watch(self, pipe: Any, named: set[Identifier], customer_ids: set[str], may_be_erased: bool) -> View:
        """What may be touched of these, watched. Two round trips; one when the identifiers are all new; one more for each merge passed, and
        one for tombs, once anybody was erased."""
        names, customers = sorted(map(identifier_name, named)), sorted(customer_ids)
        ids, nodes = [f"{self._root}id:{name}" for name in names], self._node_keys(customers)
        erasures = self._root + "erasures"
        _, owners, found = ask(pipe, ("WATCH", *ids, *nodes, erasures), ("MGET", *ids, erasures), ("MGET", *nodes))
        owned = {name: decode_owner(owner) for name, owner in zip(names, owners, strict=False) if owner}
        known = dict(zip(customers, found, strict=True))
        tombs = self._watch_tombs(pipe, named) if owners[-1] or may_be_erased else {}
        wanted = {*owned.values(), *(tomb.customer_id for tomb in tombs.values())}
        reached = self._nodes(wanted, known, lambda keys: ask(pipe, ("WATCH", *keys), ("MGET", *keys))[1])
        return View(reached, owned, tombs, self._conceal)

    def _watch_tombs(self, pipe: Any, named: set[Identifier]) -> dict[str, Tomb]:
        identifiers = sorted(named)
        keys = self._tomb_keys(identifiers)
        _, found = ask(pipe, ("WATCH", *keys), ("MGET", *keys))
        return {identifier_name(one): _decode_tomb(raw) for one, raw in zip(identifiers, found, strict=True) if raw}

    def _tomb_keys(self, identifiers: Iterable[Identifier]) -> list[str]:
        return [f"{self._root}erased:{one.type}:{self._conceal(one)}" for one in identifiers]

    def _nodes(self, wanted: set[str], known: dict[str, Any], read: Callable[[list[str]], Any]) -> dict[str, Node]:
        """The nodes of these customers, of those whose answer is `known`, and of whom they were merged into."""
        answers = dict(known)
        nodes: dict[str, Node] = {}
        for _ in range(HOPS):
            missing = sorted(wanted - answers.keys())
            if missing:
                answers |= zip(missing, read(self._node_keys(missing)), strict=True)
            found = {customer_id: decode_node(customer_id, raw) for customer_id, raw in answers.items() if raw and customer_id not in nodes}
            nodes |= found
            wanted = {node.merged_into for node in found.values() if node.merged_into}
            if wanted <= answers.keys():
                break
        return nodes

    def _node_keys(self, customer_ids: Iterable[str]) -> list[str]:
        return [self._prefix + read_model.node_key(customer_id) for customer_id in customer_ids]

    def _write(self, pipe: Any, view: View) -> None:
        def keep(key: str, value: bytes) -> None:
            pipe.execute_command("SET", key, value, "EX", self._ttl_s)

        for name in sorted(view.dirty_owners):
            if name in view.owners:
                keep(f"{self._root}id:{name}", encode_owner(view.owners[name]))
            else:
                pipe.delete(f"{self._root}id:{name}")
        for customer_id in sorted(view.dirty_nodes):
            keep(self._prefix + read_model.node_key(customer_id), encode_node(view.nodes[customer_id]))
        if view.dirty_nodes:
            pipe.delete(*(self._prefix + read_model.contact_key(customer_id) for customer_id in sorted(view.dirty_nodes)))
        for merge in view.merges:
            pipe.xadd(self._root + "merges", {"l": merge.loser, "s": merge.survivor}, maxlen=MERGES_KEPT, approximate=True)
        if view.buried:
            self._write_tombs(pipe, view)

    def _write_tombs(self, pipe: Any, view: View) -> None:
        names = sorted(view.dirty_tombs)
        for name, key in zip(names, self._tomb_keys(map(identifier_named, names)), strict=True):
            pipe.set(key, _encode(view.tombs[name]), ex=self._ttl_s)
        pipe.incr(self._root + "erasures")
        pipe.expire(self._root + "erasures", self._ttl_s)
        for customer_id, at in view.buried:
            pipe.xadd(self._root + "merges", {"l": customer_id, "e": at}, maxlen=MERGES_KEPT, approximate=True)


def _unavailable(error: redis.RedisError) -> Unavailable:
    return Unavailable(f"Redis (identity directory): {told(error)}")
