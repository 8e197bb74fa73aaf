"""What the default journeys promise to a shopper whose whole story is known.

Written from the rules as a shop would state them, not from the services' code: nothing here knows of partitions, watermarks,
merges or arrival. All devices that a person signs in on are that person's from the first act of the visit in which they do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cartstream.demo.story import Act, Story
from cartstream.events.times import DAY, HOUR, MINUTE, EventTime

SILENCE = 30 * MINUTE
FOREVER: EventTime = 2**62
CAPS = {"email": 2, "sms": 1, "push": 3}
QUIET_FROM = {"sms": 21, "push": 22}
QUIET_UNTIL = 8
NO_BROWSE_AFTER_ORDER = 10 * DAY
NO_BROWSE_AGAIN = 14 * DAY


class Expected(NamedTuple):
    """A message that must come. `recipient` is as the provider names it; `episode` tells two of the same kind apart."""

    recipient: str
    journey: str
    step: str
    channel: str
    due: EventTime
    cause: str | None = None
    """For a message sent at once: the message id of the event behind it."""


class Unclear(Exception):
    """The story has an act so soon after a decision that nobody can say from outside which came first."""


class _Step(NamedTuple):
    name: str
    after: EventTime
    channels: tuple[str, ...]


_CART_STEPS = (_Step("reminder", HOUR, ("email", "push", "sms")), _Step("offer", 24 * HOUR, ("push", "sms", "email")))
_STEPS = {
    "checkout_abandonment": _CART_STEPS,
    "cart_abandonment": _CART_STEPS,
    "browse_abandonment": (_Step("reminder", 4 * HOUR, ("email", "push")),),
}
_NUDGE = ("push", "sms")


@dataclass(slots=True)
class _Entry:
    journey: str
    last: EventTime
    begun: EventTime
    done: set[str] = field(default_factory=set)


class _Mind:
    """What is known of the shopper on the way through the story."""

    def __init__(self, story: Story, band: EventTime) -> None:
        self.person, self.band = story.person, band
        self.acts = [act for act in story.acts if act.device in {act.device for act in story.acts if act.kind == "identify"}]
        self.consent: dict[str, bool] = {}
        self.cart: set[str] = set()
        self.version = self.cart_began = self.checkout_at = self.order_at = 0
        self.seen = self.bought = False
        self.entry: _Entry | None = None
        self.entered: set[tuple[str, EventTime]] = set()
        self.sent: list[Expected] = []

    def tell(self) -> list[Expected]:
        for act, following in zip_longest(self.acts, self.acts[1:]):
            until = following.at if following is not None else FOREVER
            self._take(act, until)
            if act.at + SILENCE < until:
                self._silence(act.at, until)
        return self.sent

    def _take(self, act: Act, until: EventTime) -> None:
        match act.kind:
            case "identify":
                self.consent.update(act.consent or {})
            case "view":
                self.seen = True
            case "add" | "remove":
                self._change_cart(act)
            case "checkout":
                self.checkout_at = act.at
            case "order":
                self.order_at, self.bought, self.entry = act.at, True, None
                self.cart.clear()
                self.checkout_at = 0
            case "exit":
                self._nudge(act, until)

    def _change_cart(self, act: Act) -> None:
        if not self.cart:
            self.cart_began = act.at
        if act.kind == "add":
            self.cart.add(act.product or "")
        else:
            self.cart.discard(act.product or "")
        self.version = act.at
        if self.entry is not None and self.entry.journey != "browse_abandonment":
            self.entry = None
        if not self.cart:
            self.checkout_at = 0

    def _nudge(self, act: Act, until: EventTime) -> None:
        """Going back says enough alone; a pointer leaving needs a cart beside it. Never in quiet hours, never after buying."""
        if self.bought or not (act.trigger == "back_press" or self.cart):
            return
        self._clear_of(
            act.at, next((later.at for later in self.acts if later.at > act.at and later.kind in ("order", "identify")), FOREVER)
        )
        channel = self._channel(_NUDGE)
        if channel is not None and self._allowed_at(channel, act.at) == act.at and not self._capped(channel, act.at):
            self._promise("exit_intent", "nudge", channel, act.at, act.message_id)

    def _silence(self, last: EventTime, until: EventTime) -> None:
        """Nothing from `last` to `until`: half an hour on, what was left behind is clear, and the steps' delays run from `last`."""
        self._enter(last)
        self.seen = self.bought = False
        if self.entry is None:
            return
        self.entry.last = max(self.entry.last, last)
        for step in _STEPS[self.entry.journey]:
            if step.name not in self.entry.done and not self._do(self.entry, step, last + SILENCE, until):
                return

    def _enter(self, last: EventTime) -> None:
        begun = last + SILENCE
        if self.cart:
            journey = "checkout_abandonment" if self.checkout_at >= self.cart_began else "cart_abandonment"
            if {(journey, self.version), ("checkout_abandonment", self.version)} & self.entered:
                return
            self.entered.add((journey, self.version))
        elif self.seen and not self.bought:
            journey = "browse_abandonment"
            again = any(known.journey == journey and begun - known.due < NO_BROWSE_AGAIN for known in self.sent)
            if again or (self.order_at and begun - self.order_at < NO_BROWSE_AFTER_ORDER):
                return
        else:
            return
        self.entry = _Entry(journey, last, begun)

    def _do(self, entry: _Entry, step: _Step, not_before: EventTime, until: EventTime) -> bool:
        """Decide the step if its time comes before `until`. False if it has not come."""
        planned = max(entry.last + step.after, not_before)
        if planned >= until:
            return False
        self._clear_of(planned, until)
        channel = self._channel(step.channels)
        if channel is not None:
            due = self._allowed_at(channel, planned)
            too_late = step.name == "reminder" and len(_STEPS[entry.journey]) > 1 and due >= entry.last + 24 * HOUR
            if due >= until and not too_late:
                return False
            self._clear_of(due, until)
            if not too_late and not self._capped(channel, due):
                self._promise(entry.journey, step.name, channel, due)
        entry.done.add(step.name)
        return True

    def _channel(self, wanted: tuple[str, ...]) -> str | None:
        return next((channel for channel in wanted if self.consent.get(channel) and self.person.recipient(channel) is not None), None)

    def _allowed_at(self, channel: str, at: EventTime) -> EventTime:
        """The first moment from `at` on that is outside the channel's quiet hours where the shopper lives."""
        start = QUIET_FROM.get(channel)
        local = datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(self.person.timezone))
        if start is None or QUIET_UNTIL <= local.hour < start:
            return at
        morning = local.replace(hour=QUIET_UNTIL, minute=0, second=0, microsecond=0)
        if local.hour >= start:
            morning += timedelta(days=1)
        return round(morning.timestamp() * 1000)

    def _capped(self, channel: str, at: EventTime) -> bool:
        return sum(1 for known in self.sent if known.channel == channel and at - DAY < known.due <= at) >= CAPS[channel]

    def _clear_of(self, decided: EventTime, following: EventTime) -> None:
        if decided < following <= decided + self.band:
            raise Unclear

    def _promise(self, journey: str, step: str, channel: str, due: EventTime, cause: str | None = None) -> None:
        self.sent.append(Expected(self.person.recipient(channel) or "", journey, step, channel, due, cause))


def promised(story: Story, band: EventTime) -> list[Expected]:
    """The messages that the story's person must get, in order. Raises Unclear where an act follows a decision within `band` ms."""
    return _Mind(story, band).tell()
