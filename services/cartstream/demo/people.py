"""Who is who in a file of events, by what its events say themselves: for judging messages where nobody wrote the story."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import orjson

from cartstream.events.adapters.recorded import Recorded
from cartstream.events.times import EventTime

_OF_CARTS = {"Product Added": False, "Order Completed": True}
_OF_PRODUCTS = {**_OF_CARTS, "Product Viewed": False, "Checkout Started": False}


class People:
    """Persons are user ids; a device that never says one is nobody."""

    def __init__(self, events: Iterable[Recorded]) -> None:
        acts: list[tuple[EventTime, str, str]] = []
        self._user_of: dict[str, str] = {}
        self._users: dict[str, set[str]] = defaultdict(set)
        for record in events:
            event = _read(record.value)
            device, user = str(event.get("anonymousId") or ""), event.get("userId")
            if isinstance(user, str):
                self._user_of[device] = user
                self._note_addresses(event, user)
            if event.get("event") in _OF_PRODUCTS:
                acts.append((record.at, device, str(event["event"])))
        self._acts: dict[str, list[tuple[EventTime, str]]] = defaultdict(list)
        for at, device, name in acts:
            if device in self._user_of:
                self._acts[self._user_of[device]].append((at, name))

    def promotes_bought(self, recipient: str, journey: str, due: EventTime) -> bool:
        """Whether the last thing that the recipient did with a cart (or, for browsing, a product) before `due` was to buy."""
        relevant = _OF_PRODUCTS if journey in ("browse_abandonment", "exit_intent") else _OF_CARTS
        return any(_bought_last(self._acts[user], due, relevant) for user in self._users.get(recipient, ()))

    def _note_addresses(self, event: dict[str, Any], user: str) -> None:
        traits = event.get("traits")
        for name in ("email", "phone") if isinstance(traits, dict) else ():
            address = traits.get(name) if isinstance(traits, dict) else None
            if isinstance(address, str):
                self._users[address.lower()].add(user)


def _bought_last(acts: list[tuple[EventTime, str]], due: EventTime, relevant: dict[str, bool]) -> bool:
    before = acts[: bisect_right(acts, due, key=lambda act: act[0])]
    return next((relevant[name] for _, name in reversed(before) if name in relevant), False)


def _read(raw: bytes) -> dict[str, Any]:
    try:
        event = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return event if isinstance(event, dict) else {}
