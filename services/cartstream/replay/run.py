"""Replay a file: the whole pipeline offline, on event time only. The same input gives the same bytes, every time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from cartstream.detection.settings import DetectionSettings
from cartstream.detection.stage import DetectionStage
from cartstream.events import avro, topics
from cartstream.events.adapters.recorded import Recorded
from cartstream.events.read_model import ERASED
from cartstream.events.records import Activity, Cart, Command, Decision, Merge, Signal
from cartstream.events.times import SECOND, EventTime
from cartstream.identity.directory import MemoryDirectory
from cartstream.identity.rules import load_rules
from cartstream.identity.settings import replay_settings
from cartstream.identity.stage import IdentityStage
from cartstream.journeys.loading import load_journeys
from cartstream.journeys.settings import JourneysSettings
from cartstream.journeys.stage import JourneysStage
from cartstream.products.stage import ProductsStage
from cartstream.replay.driver import Pipeline
from cartstream.replay.lines import line, session_line
from cartstream.runtime.settings import load
from cartstream.runtime.store import Wire
from cartstream.sessions.settings import SessionsSettings
from cartstream.sessions.stage import SessionsStage

FILES = ("sessions", "activity", "signals", "decisions", "commands", "customers", "carts")
SLICE_MS = 1 * SECOND
SLICE_EVENTS = 1_000
ANNOUNCE_MS = 60 * SECOND


class Replay:
    """A pipeline and the files that it fills. A context manager; `out` is made if it is missing. If there are `products`, in order of time,
    detection watches them."""

    def __init__(self, out: Path, partitions: int = 1, products: Sequence[Recorded] = ()) -> None:
        self._identity = replay_settings()
        self.directory = MemoryDirectory(rules=load_rules(self._identity.identity_rules or None))
        self._products = deque(products)
        self.pipeline = Pipeline(self._stages(partitions), partitions, observe=self._observe, announce_ms=ANNOUNCE_MS)
        self.counts: dict[str, int] = dict.fromkeys((*FILES, "events", "refused"), 0)
        self._out = out
        self._files: dict[str, BinaryIO] = {}
        self._closing = ExitStack()
        self._carts: dict[str, Cart | None] = {}
        self._cart_at: dict[str, EventTime] = {}

    def __enter__(self) -> Replay:
        self._out.mkdir(parents=True, exist_ok=True)
        self._files = {name: self._closing.enter_context((self._out / f"{name}.jsonl").open("wb")) for name in FILES}
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def play(self, events: Iterable[Recorded], settle_ms: EventTime, each: Callable[[int, EventTime], None] = lambda n, at: None) -> None:
        """Run all events, in their order, in slices of at most a second of event time; then let `settle_ms` pass."""
        begun: EventTime = 0
        latest: EventTime = 0
        waiting = 0
        for event in events:
            if waiting and (event.at - begun >= SLICE_MS or waiting >= SLICE_EVENTS):
                self.pipeline.run()
                each(waiting, begun)
                waiting = 0
            begun = begun if waiting else event.at
            waiting += 1
            latest = max(latest, event.at)
            self.counts["events"] += 1
            self._tell_products(event.at)
            self.pipeline.feed(event.key, event.value)
        self._tell_products(latest + settle_ms)
        self.pipeline.run()
        each(waiting, latest)
        self.pipeline.advance(latest + settle_ms)
        self._write_customers()
        self._write_carts()

    def _tell_products(self, until: EventTime) -> None:
        while self._products and self._products[0].at <= until:
            product = self._products.popleft()
            self.pipeline.feed(product.key, product.value, topics.PRODUCTS)

    def _stages(self, partitions: int) -> list[Any]:
        journeys = load(JourneysSettings)
        watching = {"watch_products": True} if self._products else {}
        return [
            ProductsStage(partitions),
            IdentityStage(self._identity, self.directory, None),
            SessionsStage(load(SessionsSettings)),
            DetectionStage(load(DetectionSettings, **watching)),
            JourneysStage(journeys, load_journeys(journeys.journeys or None)),
        ]

    def _observe(self, output: Wire) -> None:
        if output.topic.endswith(".dlq"):
            self.counts["refused"] += 1
        if output.topic in (topics.CLICKSTREAM, topics.IDENTIFIED, topics.CUSTOMERS, topics.PRODUCTS) or output.topic.endswith(".dlq"):
            return
        record = avro.codec().decode(output.value)
        match record:
            case Activity():
                self._activity(record)
            case Signal():
                self._write("signals", line(record))
            case Decision():
                self._write("decisions", line(record))
            case Command():
                self._write("commands", line(record))
            case Merge() if output.topic == topics.MERGES:
                self._carts.pop(record.loser, None)

    def _activity(self, activity: Activity) -> None:
        self._write("activity", line(activity))
        if activity.kind == "session_ended":
            self._write("sessions", session_line(activity))
        if activity.kind in ("cart_updated", "cart_emptied", "order_placed"):
            self._carts[activity.customer_id] = activity.cart
            self._cart_at[activity.customer_id] = activity.at

    def _write_customers(self) -> None:
        """Everybody, also those who stayed anonymous; devices as the tracker named them."""
        devices: dict[str, set[str]] = {}
        for device_id, state in self.pipeline.states("identity"):
            owner = self.directory.roots([state.customer_id]).get(state.customer_id, state.customer_id)
            if owner == ERASED:
                continue
            devices.setdefault(owner, set())
            if not device_id.startswith("user:"):
                devices[owner].add(device_id)
        for customer_id in sorted({*devices, *(known.customer_id for known in self.directory.nodes.values() if known.merged_into is None)}):
            node = self.directory.nodes.get(customer_id)
            identifiers = [{"type": known.type, "value": known.value} for known in node.identifiers] if node else []
            own = {device for device in node.devices if not device.startswith("user:")} if node else set()
            self._write(
                "customers",
                line({"customer_id": customer_id, "identifiers": identifiers, "devices": sorted(devices.get(customer_id, set()) | own)}),
            )

    def _write_carts(self) -> None:
        for customer_id, cart in sorted(self._carts.items()):
            items = cart.items if cart else []
            value, currency = (cart.value, cart.currency) if cart else (0.0, None)
            self._write(
                "carts",
                line({"customer_id": customer_id, "at": self._cart_at[customer_id], "items": items, "value": value, "currency": currency}),
            )

    def _write(self, name: str, text: bytes) -> None:
        self.counts[name] += 1
        self._files[name].write(text)
