"""A disturbed course held against an undisturbed one, record by record and message by message.

What may differ, and why:

- A delivery's time, provider's id and number of attempts: they are of the wall clock and of the provider.
- A delivery record may be told twice, with the same id: a sender that died after its transaction's records were written, before it knew.
- A sender that looks later may know of something that the shopper did after the message became due, and hold it back. That is what
  the last look is for. It is allowed only if the shopper's true story has such an act.
- The start of a visit is told when its first event is read. If an earlier one is read later (a login on another device brings it), the
  start is told again under another id; whoever reads them in the other order tells it once. The end of a visit is told once and for
  all: a start without an end under its id was never the start of a visit.
- Where a process died in a provider's call, nobody can know whether the message is out: SMS and e-mail are told as `ambiguous` and not
  sent again, push is sent again under the same topic, so that the device shows one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson

from cartstream.demo.truth import Message
from cartstream.events import avro, topics
from cartstream.events.records import Activity, Command, Decision, Delivery, Signal
from tests.drills.course import Result
from tests.drills.traffic import Truth
from tests.drills.watch import Seen

_COMPARED = (topics.ACTIVITY, topics.SIGNALS, topics.DECISIONS, *map(topics.commands, topics.CHANNELS))
_LAST_LOOK = ("purchased", "cart_changed", "cart_empty", "no_consent")
_NAMED = 5
# A sender looks milliseconds before it calls. On a machine where everything is being killed and restarted it may be more.
_LOOK_MS = 2_000


@dataclass(slots=True)
class Verdict:
    """`differences` names the first few of each kind and topic, without content. `allowed` counts what may differ."""

    commands: int = 0
    lost: int = 0
    duplicated: int = 0
    unexpected: int = 0
    sent_after_purchase: int = 0
    allowed: Counter[str] = field(default_factory=Counter)
    differences: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def good(self) -> bool:
        return not (self.lost or self.duplicated or self.unexpected or self.sent_after_purchase)

    def note(self, kind: str, what: str, count: int = 1) -> None:
        """`kind` is lost, duplicated, unexpected or sent_after_purchase."""
        if count > 0:
            setattr(self, kind, getattr(self, kind) + count)
            named = [other for other in self.differences[kind] if other.partition(" ")[0] == what.partition(" ")[0]]
            if len(named) < _NAMED:
                self.differences[kind].append(what)


def judge(reference: Result, disturbed: Result, truth: Truth) -> Verdict:
    verdict = Verdict()
    _compare_bytes(topics.IDENTIFIED, reference, disturbed, verdict)
    for topic in _COMPARED:
        _compare_records(topic, reference, disturbed, verdict)
    for topic in map(topics.dead_letters, topics.ALL):
        _compare_dead_letters(topic, reference, disturbed, verdict)
    commands = {command.command_id: command for command in _commands(disturbed)}
    verdict.commands = len(commands)
    _Messages(reference, disturbed, commands, truth, verdict).compare()
    _judge_purchases(disturbed, commands, truth, verdict)
    return verdict


def _compare_bytes(topic: str, reference: Result, disturbed: Result, verdict: Verdict) -> None:
    """Events pass through identity unchanged: customer and bytes are their identity. Control records need not be in the same number."""
    before, after = (
        Counter((seen.key, seen.value) for seen in result.records[topic] if seen.value[:1] == b"{") for result in (reference, disturbed)
    )
    for (key, _), count in (before - after).items():
        verdict.note("lost", f"{topic} {_shown(key)}", count)
    for (key, value), count in (after - before).items():
        verdict.note("duplicated" if (key, value) in before else "unexpected", f"{topic} {_shown(key)}", count)


def _shown(key: bytes | None) -> str:
    return (key or b"").decode(errors="backslashreplace")


def _compare_dead_letters(topic: str, reference: Result, disturbed: Result, verdict: Verdict) -> None:
    before, after = (Counter((seen.key, seen.value) for seen in result.records.get(topic, ())) for result in (reference, disturbed))
    verdict.note("lost", f"{topic}", (before - after).total())
    verdict.note("unexpected", f"{topic}", (after - before).total())


def _compare_records(topic: str, reference: Result, disturbed: Result, verdict: Verdict) -> None:
    before, after = _by_id(reference.records.get(topic, ())), _by_id(disturbed.records.get(topic, ()))
    taken_back = {id for id in before.keys() ^ after.keys() if _is_taken_back(id, before, after)}
    verdict.allowed["starts_taken_back"] += len(taken_back)
    for id, values in before.items():
        if id in taken_back:
            continue
        found = after.get(id, [])
        verdict.note("lost", f"{topic} {id}", len(values) - len(found))
        verdict.note("duplicated", f"{topic} {id}", len(found) - len(values))
        if len(found) == len(values) and _sorted(found) != _sorted(values):
            verdict.note("unexpected", f"{topic} {id}: not the same in {', '.join(_changed(values[0], found[0])) or 'order'}")
    for id in after.keys() - before.keys() - taken_back:
        verdict.note("unexpected", f"{topic} {id}", len(after[id]))


def _is_taken_back(id: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether it tells the start of what both found to be the middle of a visit."""
    visit, _, what = id.rpartition(":")
    end = f"{visit}:ended"
    if what != "started" or end in before or end in after:
        return False
    start = (before.get(id) or after[id])[0]
    return all(any(_is_within(start, value) for values in told.values() for value in values) for told in (before, after))


def _is_within(start: Any, other: Any) -> bool:
    if other.kind != "session_ended" or other.device_id != start.device_id or other.session is None:
        return False
    return bool(other.session.started_at <= start.at <= other.session.ended_at)


def _by_id(seen: Iterable[Seen]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for entry in seen:
        value = avro.codec().decode(entry.value)
        if isinstance(value, (Activity, Signal, Decision, Delivery)):
            found[value.id].append(value)
        elif isinstance(value, Command):
            found[value.command_id].append(value)
    return found


def _sorted(values: Sequence[Any]) -> list[bytes]:
    return sorted(msgspec.json.encode(value) for value in values)


def _changed(one: msgspec.Struct, other: msgspec.Struct) -> list[str]:
    return [name for name in one.__struct_fields__ if getattr(one, name) != getattr(other, name)]


def _commands(result: Result) -> list[Command]:
    found = [avro.codec().decode(seen.value) for channel in topics.CHANNELS for seen in result.records.get(topics.commands(channel), ())]
    return [value for value in found if isinstance(value, Command)]


class _Messages:
    """Deliveries and messages of both courses."""

    def __init__(self, reference: Result, disturbed: Result, commands: Mapping[str, Command], truth: Truth, verdict: Verdict) -> None:
        self._commands, self._truth, self._verdict = commands, truth, verdict
        self._told = [_by_id(result.records.get(topics.DELIVERIES, ())) for result in (reference, disturbed)]
        self._ends = [{values[0].command_id: values[0] for values in told.values()} for told in self._told]
        self._sent = [
            Counter((message.channel, message.to, message.command_id or "") for message in result.messages)
            for result in (reference, disturbed)
        ]
        self._users = _users(reference)

    def compare(self) -> None:
        self._compare_deliveries()
        before, after = self._sent
        for (channel, to, command), count in after.items():
            if count > 1:
                self._repeated(channel, command, count - 1)
            if (channel, to, command) not in before and not self._held_back(command):
                self._verdict.note("unexpected", f"{channel} message of {command}")
        for channel, _, command in before.keys() - after.keys():
            end = self._ends[1].get(command)
            if end is not None and end.status == "ambiguous" and channel != "push":
                continue  # counted as ambiguous already
            if not self._held_back(command):
                self._verdict.note("lost", f"{channel} message of {command}")

    def _compare_deliveries(self) -> None:
        before, after = self._ends
        for told in self._told[1].values():
            self._verdict.allowed["deliveries_told_twice"] += len(told) - 1
            if len({(delivery.status, delivery.reason) for delivery in told}) > 1:
                self._verdict.note("unexpected", f"deliveries {told[0].id}: told twice, and not the same")
        for command in before.keys() - after.keys():
            self._verdict.note("lost", f"delivery of {command}")
        for command, end in after.items():
            if command not in before:
                self._verdict.note("unexpected", f"delivery of {command}")
            elif (end.status, end.reason) != (before[command].status, before[command].reason):
                self._differs(before[command], end)

    def _differs(self, before: Delivery, after: Delivery) -> None:
        if self._held_back(after.command_id):
            self._verdict.allowed["held_back_at_the_last_look"] += 1
        elif after.status == "ambiguous" and after.channel != "push":
            self._verdict.allowed["ambiguous"] += 1
        else:
            self._verdict.note(
                "unexpected", f"delivery of {after.command_id}: {before.status} {before.reason}, then {after.status} {after.reason}"
            )

    def _held_back(self, command_id: str) -> bool:
        """Whether a sender knew of something that the shopper truly did after the message was due; of which, may differ, too."""
        told = [ends[command_id] for ends in self._ends if command_id in ends]
        stopped = any(end.status in ("suppressed", "ambiguous") and end.reason in _LAST_LOOK for end in told)
        command = self._commands.get(command_id)
        return stopped and command is not None and self._truth.acted_after(self._users.get(command.customer_id, ""), command.at)

    def _repeated(self, channel: str, command: str, count: int) -> None:
        if channel == "push":
            self._verdict.allowed["push_replaced"] += count
        else:
            self._verdict.note("duplicated", f"{channel} message of {command}", count)


def _users(result: Result) -> dict[str, str]:
    """By customer, who it is: as the events say that identity gave to the customer."""
    events = ((seen.key or b"", seen.value) for seen in result.records[topics.IDENTIFIED] if seen.value[:1] == b"{")
    return {_shown(key): user for key, value in events if isinstance(user := orjson.loads(value).get("userId"), str)}


def _judge_purchases(result: Result, commands: Mapping[str, Command], truth: Truth, verdict: Verdict) -> None:
    known_at = _orders_known(result.records.get(topics.ACTIVITY, ()))
    for message in result.messages:
        command = commands.get(message.command_id or "")
        if command is not None and (_due_after_purchase(message, command, truth) or _sent_in_spite(message, command, truth, known_at)):
            verdict.note("sent_after_purchase", f"{message.channel} message of {command.command_id}")


def _due_after_purchase(message: Message, command: Command, truth: Truth) -> bool:
    """When it became due the shopper had bought already."""
    return truth.bought_last(truth.user_of.get(message.to, ""), command.journey, command.at)


def _sent_in_spite(message: Message, command: Command, truth: Truth, known_at: Mapping[str, int]) -> bool:
    """The shopper bought after it became due, and it went out though the purchase lay before the sender's eyes."""
    if command.guard == "none":
        return False
    orders = [known_at[order] for order in truth.orders_after(truth.user_of.get(message.to, ""), command.at) if order in known_at]
    return any(message.received_at > known + _LOOK_MS for known in orders)


def _orders_known(seen: Iterable[Seen]) -> dict[str, int]:
    """By order, when it was told (real ms). What senders look at was written before that."""
    found: dict[str, int] = {}
    for entry in seen:
        value = avro.codec().decode(entry.value)
        if isinstance(value, Activity) and value.order is not None and value.order.order_id is not None:
            found.setdefault(value.order.order_id, entry.timestamp)
    return found
