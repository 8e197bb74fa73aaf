"""Sessions on their own: clicks in as the stage reads them, activity out. States go through their encoding at every step."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from cartstream.events import avro, read_model
from cartstream.events.read_model import Guard
from cartstream.events.records import Activity, Customer, Handover, Merge
from cartstream.events.times import iso
from cartstream.runtime.settings import load
from cartstream.runtime.stage import Output, Record
from cartstream.sessions.cart import snapshot
from cartstream.sessions.settings import SessionsSettings
from cartstream.sessions.stage import SessionsStage
from cartstream.sessions.state import CustomerState

T0 = 1_710_000_000_000
MINUTE = 60_000
FAR = 10**15


def click(device: str, at: int, type: str = "page", event: str | None = None, /, *, message: str | None = None, **properties: Any) -> bytes:
    """`at` is milliseconds after T0."""
    body = {"type": type, "event": event, "anonymousId": device, "messageId": message or f"{device}-{event}-{at}-{properties}"}
    return orjson.dumps({**body, "timestamp": iso(T0 + at), "properties": properties})


def track(name: str, at: int, /, **properties: Any) -> bytes:
    return click("d1", at, "track", name, **properties)


def add(product: str, at: int, quantity: int = 1, **more: Any) -> bytes:
    return track("Product Added", at, product_id=product, quantity=quantity, price=10.0, **more)


def remove(product: str, at: int, quantity: int | None = None) -> bytes:
    return track("Product Removed", at, product_id=product, quantity=quantity)


class Shop:
    """`see` feeds one customer's events, `pass_to` lets time pass. What goes back to the own topic is fed again at once."""

    def __init__(self, **settings: Any) -> None:
        self.stage = SessionsStage(load(SessionsSettings, **settings))
        self.watermark = -(2**62)
        self.outputs: list[Output] = []
        self.outcomes: list[tuple[str, str]] = []
        self.states: dict[str, bytes] = {}
        self.guards: dict[str, Guard] = {}
        self._wakes: dict[str, int] = {}

    def see(self, *events: bytes | msgspec.Struct, customer: str = "c1") -> Shop:
        for event in events:
            raw = event if isinstance(event, bytes) else avro.codec().encode(event)
            decoded = self.stage.decode(Record(self.stage.source, 0, 0, customer.encode(), raw))
            key = self.stage.key_of(decoded)
            self._settle(key, self.stage.step(self.state(key), decoded, self.watermark))
        return self

    def pass_to(self, at: int) -> Shop:
        """The watermark rises to `at` ms after T0."""
        self.watermark = max(self.watermark, T0 + at)
        while due := [(wake, key) for key, wake in self._wakes.items() if wake <= self.watermark]:
            key = min(due)[1]
            del self._wakes[key]
            state = self.state(key)
            assert state is not None
            self._settle(key, self.stage.wake(state, self.watermark))
        return self

    def end(self) -> Shop:
        return self.pass_to(FAR - T0)

    def state(self, key: str = "c1") -> CustomerState | None:
        raw = self.states.get(key)
        return None if raw is None else self.stage.decode_state(raw)

    @property
    def activities(self) -> list[Activity]:
        return [output.value for output in self.outputs if isinstance(output.value, Activity)]

    @property
    def kinds(self) -> list[str]:
        return [activity.kind for activity in self.activities]

    def of_kind(self, kind: str) -> list[Activity]:
        return [activity for activity in self.activities if activity.kind == kind]

    def cart(self, key: str = "c1") -> dict[str, int]:
        state = self.state(key)
        found = snapshot(state.open()[0]) if state else None
        return {item.product_id: item.quantity for item in found.items} if found else {}

    def sessions(self) -> list[tuple[int, int, int]]:
        """(start, end, events) of those that ended, times after T0."""
        found = [activity.session for activity in self.of_kind("session_ended")]
        return sorted((session.started_at - T0, session.ended_at - T0, session.events) for session in found if session)

    def _settle(self, key: str, step: Any) -> None:
        self.states.pop(key, None)
        if step.state is None:
            self._wakes.pop(key, None)
        else:
            self.states[key] = self.stage.encode_state(step.state)
            if step.wake_at is not None:
                self._wakes[key] = min(step.wake_at, self._wakes.get(key, FAR))
            guard = read_model.guard_of(self.states[key])
            if guard is not None:
                self.guards[key] = guard
        self.outcomes += step.outcomes
        self.outputs += step.outputs
        for output in step.outputs:
            if output.topic == self.stage.source:
                self.see(output.value, customer=output.key)


__all__ = ["FAR", "MINUTE", "T0", "Customer", "Handover", "Merge", "Shop", "add", "click", "remove", "track"]
