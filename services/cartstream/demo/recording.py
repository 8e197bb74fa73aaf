"""The demo with a file of real events: nobody knows what must come, but what must not come is still counted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from cartstream.demo.clock import DemoClock
from cartstream.demo.ecom_truth import ABANDONMENTS, Named, agreement
from cartstream.demo.listener import Listener
from cartstream.demo.people import People
from cartstream.demo.pipeline import Stagecraft, pipeline
from cartstream.demo.run import Run
from cartstream.demo.summary import Summary
from cartstream.demo.truth import Message, Verdict
from cartstream.errors import ConfigError
from cartstream.events import adapters
from cartstream.events.times import HOUR

# A month may pass in ten seconds: a partition must not be called quiet before the file is at its end.
IDLE_GRACE_MS = 5_000
SETTLE_SECONDS = 30.0
_AFTERWARDS = 26 * HOUR


def play(path: Path, layout: str | None, stage: Stagecraft) -> tuple[Summary, bool]:
    """Everything from start to verdict. True if no message came twice or after its shopper's purchase."""
    chosen = layout or (adapters.guess_format(path) if path.is_file() else None)
    events = list(adapters.read(path, chosen))
    if not events:
        raise ConfigError(f"{path}: no events in it")
    origin, end = events[0].at, events[-1].at
    speed = max(1.0, (end - origin) / 1000 / stage.duration)
    clock = DemoClock(origin, speed, (stage.out / "clock").resolve())
    settled_s = stage.duration + IDLE_GRACE_MS / 1000 + _AFTERWARDS / 1000 / speed + 1
    with pipeline(clock, IDLE_GRACE_MS, stage) as running:
        run = Run(running, clock, events, stage)
        result = run.play(lambda messages: clock.elapsed_s > settled_s, SETTLE_SECONDS + settled_s - stage.duration)
    verdict = judged(result.messages, run.listener, People(events))
    said = {"format": chosen, "speed": round(speed), "sessions": len(run.listener.sessions)}
    summary = Summary(result, verdict, run.listener.funnel, truth=False, file=said | _abandonment(path, chosen, run.listener, stage.out))
    summary.write(stage.out)
    return summary, verdict.good


def judged(messages: Sequence[Message], listener: Listener, people: People) -> Verdict:
    """By event time: what was due, and what its shopper had done by then."""
    verdict = Verdict()
    seen: set[str | None] = set()
    for message in messages:
        if message.command_id in seen:
            verdict.sent_twice.append(message)
        seen.add(message.command_id)
        command = listener.commands.get(message.command_id or "")
        if command is not None and people.promotes_bought(message.to, command.journey, command.at):
            verdict.sent_after_purchase.append(message)
    return verdict


def _abandonment(path: Path, layout: str | None, listener: Listener, out: Path) -> dict[str, Any]:
    """Only the ecom file says itself which sessions leave something behind."""
    if layout != "ecom":
        return {}
    signals = [signal for signal in listener.signals.values() if signal.kind in ABANDONMENTS and signal.cart is not None]
    named = [Named(signal.customer_id, signal.cart.version) for signal in signals if signal.cart is not None]
    found = agreement(path, named, listener.devices)
    differences = {"missed": found.missed, "extra": found.extra, "homeless": [list(signal) for signal in found.homeless]}
    (out / "differences.json").write_bytes(orjson.dumps(differences, option=orjson.OPT_INDENT_2) + b"\n")
    return {
        "sessions_in_file": found.sessions,
        "left_a_cart": len(found.left),
        "signalled": len(found.found) + len(found.homeless),
        "precision": round(found.precision, 4),
        "recall": round(found.recall, 4),
    }
