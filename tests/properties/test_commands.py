"""The same clicks give the same commands, byte by byte, and the same decisions and signals behind them: whatever the batches, on however
many partitions, with repetitions, and out of order by as much as the lateness allows.

What the results do depend on is kept still: a device's first event, since its customer is as old as that; logins, which come before
anything else, since a merge acts when it is read (see tests/pipeline/test_order.py); and which of two messages about one order comes
first, since a purchase is passed on at once, as of the message that told it.
"""

from __future__ import annotations

from hypothesis import given

from tests.pipeline.shop import Event
from tests.properties.days import Arrival, arrivals, days, outcome
from tests.properties.effort import examples


@examples(40)
@given(days(), arrivals())
def test_carts_on_any_device_give_the_same_commands_however_they_arrive(events: list[Event], arrival: Arrival) -> None:
    assert outcome(events, arrival) == outcome(events)


@examples(20)
@given(days(exits=True), arrivals())
def test_exits_give_the_same_commands_when_what_they_are_judged_by_has_come(events: list[Event], arrival: Arrival) -> None:
    assert outcome(events, arrival) == outcome(events)
