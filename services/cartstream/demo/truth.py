"""What the providers got, held against what was expected."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from cartstream.demo.promises import Expected
from cartstream.demo.shoppers import Purchase
from cartstream.events.times import EventTime

BAND_SECONDS = 1.5
"""Real seconds. A message and a purchase that cross on the wire within it cannot be judged: shoppers keep so far away from
the times of their messages, and only a message received later than this after the purchase was sent counts against us."""
_CLOCK_MS = 5


class Message(msgspec.Struct, frozen=True):
    """What a provider received, as the fakes tell it. `received_at` is real ms."""

    n: int
    channel: str
    to: str
    received_at: int
    command_id: str | None = None
    journey: str | None = None
    step: str | None = None
    subject: str = ""


@dataclass(slots=True)
class Verdict:
    """Of a whole run. `missed` were never received; `wrong` nobody promised, or came before their time."""

    expected: int = 0
    missed: list[Expected] = field(default_factory=list)
    wrong: list[Message] = field(default_factory=list)
    sent_twice: list[Message] = field(default_factory=list)
    sent_after_purchase: list[Message] = field(default_factory=list)
    latencies_ms: list[int] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.missed or self.wrong or self.sent_twice or self.sent_after_purchase)


@dataclass(frozen=True, slots=True)
class Times:
    """`real_ms` turns event time into real time; `produced_ms` has the real time at which an event (by message id) was sent."""

    real_ms: Callable[[EventTime], int]
    produced_ms: Mapping[str, int]


def judge(expected: Sequence[Expected], received: Iterable[Message], purchases: Mapping[str, Sequence[Purchase]], times: Times) -> Verdict:
    """Match by recipient, journey, step and channel; messages of one such key in the order of their times."""
    verdict = Verdict(expected=len(expected))
    waiting: dict[tuple[str, str | None, str | None, str], list[Expected]] = defaultdict(list)
    for promise in sorted(expected, key=lambda promise: promise.due):
        waiting[promise.recipient, promise.journey, promise.step, promise.channel].append(promise)
    promised = set(waiting)
    seen: set[str | None] = set()
    for message in sorted(received, key=lambda message: message.n):
        key = message.to, message.journey, message.step, message.channel
        again = message.command_id in seen
        seen.add(message.command_id)
        kept = waiting[key].pop(0) if not again and waiting[key] else None
        if kept is not None:
            _judge_kept(kept, message, times, verdict)
        elif again or key in promised:
            verdict.sent_twice.append(message)
        else:
            verdict.wrong.append(message)
        if _after_purchase(kept, message, purchases.get(message.to, ()), times):
            verdict.sent_after_purchase.append(message)
    verdict.missed = [promise for left in waiting.values() for promise in left]
    return verdict


def _judge_kept(promise: Expected, message: Message, times: Times, verdict: Verdict) -> None:
    if message.received_at < times.real_ms(promise.due) - _CLOCK_MS:
        verdict.wrong.append(message)
    if promise.cause is not None and promise.cause in times.produced_ms:
        verdict.latencies_ms.append(message.received_at - times.produced_ms[promise.cause])


def _after_purchase(promise: Expected | None, message: Message, purchases: Sequence[Purchase], times: Times) -> bool:
    """A purchase had been sent for longer than the band, and the message is about something before it."""
    for purchase in purchases:
        sent_ms = times.produced_ms.get(purchase.message_id)
        if sent_ms is None or message.received_at <= sent_ms + BAND_SECONDS * 1000:
            continue
        if promise is not None and promise.due <= purchase.at:
            return True
        if promise is None and (purchase.next_act is None or message.received_at < times.real_ms(purchase.next_act)):
            return True
    return False


def percentile(values: Sequence[int], share: float) -> float | None:
    """The nearest rank; None of nothing."""
    if not values:
        return None
    ranked = sorted(values)
    return float(ranked[min(len(ranked) - 1, int(share * len(ranked)))])
