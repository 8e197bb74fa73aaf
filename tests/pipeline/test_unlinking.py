"""A wrong link is taken out: nobody is reminded of what may be somebody else's. In memory, from clicks to commands."""

from __future__ import annotations

from typing import Any

import pytest

from cartstream.events.records import Command, Decision
from cartstream.identity.correction import signed, unlinking, written
from cartstream.identity.state import anonymous_customer
from cartstream.runtime.vault import AddressHash
from tests.pipeline.shop import HOUR, MINUTE, SECOND, T0, Event, Partial, event

ANN, BOB = "ann@example.test", "bob@example.test"
CART: dict[str, Any] = {"product_id": "shoes", "quantity": 1, "price": 40.0}
HASH = AddressHash("h" * 32)


def said(device: str, at: int, address: str) -> Event:
    return event(device, at, "identify", email=address, consent={"email": True})


def unlink(at: int) -> Event:
    moved = ["device:b", "email:" + HASH("email", BOB)]
    return at, "", written(signed(unlinking("unlink", T0 + at, moved, ["email:" + HASH("email", ANN), "device:a"]), HASH))


# Bob's phone once said Ann's address; his cart is then taken for hers.
EVENTS = (
    said("a", 0, ANN),
    said("b", SECOND, BOB),
    said("b", 2 * SECOND, ANN),
    event("b", 20 * SECOND, "Product Added", **CART),
)


def test_without_an_unlink_the_cart_is_a_message_to_whoever_they_are_taken_for() -> None:
    assert [command.customer_id for command in Partial().click(*EVENTS).at(3 * HOUR).records(Command)] == [anonymous_customer("a")]


@pytest.mark.parametrize("partitions", [1, 4])
@pytest.mark.parametrize("at", [30 * SECOND, 40 * MINUTE])
def test_nobody_gets_a_message_of_what_was_done_while_they_were_one(partitions: int, at: int) -> None:
    """Before the cart is found abandoned, and on the journey."""
    pipeline = Partial(partitions).click(*EVENTS).at(at - SECOND).click(unlink(at)).at(at + 3 * HOUR)
    assert pipeline.records(Command) == []
    stopped = [decision.rule for decision in pipeline.records(Decision) if decision.outcome == "stopped"]
    assert stopped == ([] if at < HOUR // 2 else ["unlinked"])


@pytest.mark.parametrize("repeated", [False, True])
def test_what_each_does_from_then_on_is_their_own(repeated: bool) -> None:
    pipeline = Partial().click(*EVENTS, unlink(MINUTE))
    pipeline.click(
        event("a", 2 * MINUTE, "Product Added", **CART), said("b", 2 * MINUTE, BOB), event("b", 3 * MINUTE, "Product Added", **CART)
    )
    if repeated:
        pipeline.click(unlink(MINUTE))
    owners = {command.customer_id for command in pipeline.at(3 * HOUR).records(Command)}
    # Ann's address is told again with the next login: until then there is nowhere to send to.
    assert len(owners) == 1
    assert anonymous_customer("a") not in owners
    pipeline.click(said("a", 4 * HOUR, ANN), event("a", 4 * HOUR + SECOND, "Product Added", **CART)).at(8 * HOUR)
    assert anonymous_customer("a") in {command.customer_id for command in pipeline.records(Command)}


def test_a_late_change_does_not_bring_the_cart_back() -> None:
    pipeline = Partial().click(*EVENTS, unlink(MINUTE), event("a", 50 * SECOND, "Product Added", **CART), said("a", 2 * MINUTE, ANN))
    assert pipeline.at(3 * HOUR).records(Command) == []


def test_a_replay_of_the_topic_gives_the_same_bytes_in_any_batches_and_partitions() -> None:
    story = [*EVENTS, unlink(MINUTE), said("b", 2 * MINUTE, BOB), event("b", 3 * MINUTE, "Product Added", **CART)]
    expected = _told(Partial().click(*story))
    assert len(expected["commands"]) == 1
    for partitions, batch_size in ((1, 1), (1, 2), (4, 1_000), (8, 1)):
        pipeline = Partial(partitions, batch_size)
        for one in story:
            pipeline.click(one)
        assert _told(pipeline) == expected


def test_a_cart_on_its_way_through_a_merge_is_nobodys_either() -> None:
    """The merge and the unlink are read in one go, so the loser's cart arrives behind the split."""
    filled = [said("b", SECOND, BOB), event("b", 2 * SECOND, "Product Added", **CART), said("a", 0, ANN)]
    pipeline = Partial().click(*filled, said("b", 3 * SECOND, ANN), unlink(MINUTE), said("a", 2 * MINUTE, ANN), said("b", 2 * MINUTE, BOB))
    assert pipeline.at(3 * HOUR).records(Command) == []


def _told(pipeline: Partial) -> dict[str, list[bytes]]:
    """All but visits: an event that is on its way through a merge when the unlink is read may open one."""
    outcome = pipeline.at(8 * HOUR).outcome()
    del outcome["session_ended"]
    return outcome
