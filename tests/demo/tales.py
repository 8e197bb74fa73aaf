"""Stories for tests: one person at 10:00 UTC, in a zone where that is daytime unless told otherwise."""

from __future__ import annotations

from random import Random
from typing import Any

from cartstream.demo.kinds import EVERYTHING
from cartstream.demo.promises import Expected, promised
from cartstream.demo.story import Person, Story
from cartstream.events.times import HOUR, MINUTE, EventTime, parse_iso

TEN = parse_iso("2024-03-05T10:00:00Z")
SUBSCRIPTION: dict[str, Any] = {"endpoint": "http://127.0.0.1:1/push/send/sub7", "keys": {}}


def person(*reached: str, timezone: str = "Europe/London") -> Person:
    return Person(
        7,
        timezone,
        email="shopper7@example.test" if "email" in reached else None,
        phone="+12025550107" if "sms" in reached else None,
        push=SUBSCRIPTION if "push" in reached else None,
    )


def tale(*reached: str, timezone: str = "Europe/London") -> Story:
    """Signed in on the laptop, with every consent."""
    return Story(person(*reached, timezone=timezone), Random(1), TEN).on("laptop").sign_in(EVERYTHING)


def told(story: Story, band: EventTime = MINUTE) -> list[tuple[str, str, str]]:
    """Journey, step and channel of what is promised."""
    return [(message.journey, message.step, message.channel) for message in promised(story, band)]


def due(story: Story) -> list[float]:
    """Hours between the last act and what is promised."""
    return [(message.due - story.acts[-1].at) / HOUR for message in promised(story, MINUTE)]


def expected(journey: str = "cart_abandonment", step: str = "reminder", at: EventTime = TEN, cause: str | None = None) -> Expected:
    return Expected("shopper7@example.test", journey, step, "email", at, cause)
