"""The demo with simulated shoppers, whose every message is known beforehand."""

from __future__ import annotations

from cartstream.demo.clock import DemoClock
from cartstream.demo.pipeline import Stagecraft, pipeline
from cartstream.demo.run import Run
from cartstream.demo.shoppers import HOURS, MOST_SHOPPERS, ORIGIN, crowd
from cartstream.demo.summary import Summary
from cartstream.demo.truth import BAND_SECONDS, Times, judge
from cartstream.events.times import HOUR

SHOPPERS_PER_SECOND = 20
SETTLE_SECONDS = 20.0
# Longer than a busy machine keeps the player from its work: what comes after a partition was called quiet too early is late.
IDLE_GRACE_MS = 1_000


def play(seed: int, shoppers: int | None, stage: Stagecraft) -> tuple[Summary, bool]:
    """Everything from start to verdict. True if no message is missed, wrong, sent twice or after the purchase."""
    speed = HOURS * HOUR / 1000 / stage.duration
    number = min(shoppers or round(SHOPPERS_PER_SECOND * stage.duration), MOST_SHOPPERS)
    clock = DemoClock(ORIGIN, speed, (stage.out / "clock").resolve())
    with pipeline(clock, IDLE_GRACE_MS, stage) as running:
        people = crowd(seed, number, running.subscriptions(number), round(BAND_SECONDS * 1000 * speed))
        run = Run(running, clock, people.events, stage)
        result = run.play(lambda messages: len(messages) >= len(people.expected), SETTLE_SECONDS)
    verdict = judge(people.expected, result.messages, people.purchases, Times(clock.real_ms, result.produced_ms))
    summary = Summary(result, verdict, run.listener.funnel)
    summary.write(stage.out)
    return summary, verdict.good
