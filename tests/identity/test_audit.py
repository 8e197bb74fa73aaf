"""Refused links are told, counted, and name nobody."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from cartstream.events.records import Identifier
from cartstream.identity.nodes import Linked, Refusal
from cartstream.identity.rules import read_rules
from cartstream.identity.step import IdentityEvent, step
from cartstream.runtime.metrics import StageMetrics
from cartstream.runtime.stage import Step
from tests.identity.people import HASH, T0, Event, People, identify, page

ANN = "ann@example.test"
FEW = read_rules(
    """
identifiers:
  - {type: user_id, limit: 1}
  - {type: email, limit: 2, within: 10s}
  - {type: device, limit: 3, within: 10s}
caps: {devices: 4, merges: 1}
""",
    "few.yaml",
)


def test_a_refused_link_says_who_what_why_and_by_which_event() -> None:
    people = People().see(identify("d1", 0, "u1", email=ANN), identify("d2", 5, "u2", email=ANN))
    (refused,) = people.refused()

    assert refused.customer_id == people.customer_of("d2-5")
    assert refused.holder == people.customer_of("d1-0")
    assert (refused.at, refused.event_id) == (T0 + 5_000, "d2-5")
    assert (refused.identifier_type, refused.identifier) == ("email", HASH("email", ANN))
    assert (refused.reason, refused.limited, refused.late) == ("unique", "user_id", False)


def test_no_identifier_is_in_the_audit_but_as_a_keyed_hash() -> None:
    people = People().see(page("kiosk", 0, "first-login"), page("kiosk", 1, "second-login"))
    (refused,) = people.refused()

    assert refused.identifier == HASH("device", "kiosk")
    assert not any(name in repr(refused).replace(refused.event_id, "") for name in ("kiosk", "first-login", "second-login"))


def test_a_refusal_told_again_has_the_id_that_it_had() -> None:
    events = [page("d1", 0, "u1"), page("d1", 1, "u2")]
    assert People().see(*events).refused() == People(partitions=3, batch_size=1).see(*events).refused()
    again = People().see(*events, identify("d1", 1, "u2", email=ANN) | {"messageId": "d1-1"}).refused()
    assert len(again) == 2
    assert len({refused.id for refused in again}) == 1


REASONS: dict[str, list[Event]] = {
    "unique of user_id": [page("d1", 0, "u1"), page("d1", 1, "u2")],
    "limit of email": [identify("d1", n, "u1", email=f"a{n}@example.test") for n in range(3)],
    "limit of device": [page(f"d{n}", n, "u1") for n in range(4)],
    "devices of device": [page(f"d{n}", 6 * n, "u1") for n in range(5)],
    "merges of email": [
        *(identify(f"d{n}", 20 * n, email=f"a{n}@example.test") for n in range(3)),
        *(page(f"d{n}", 60 + 20 * n, "u1") for n in range(3)),
    ],
}


@pytest.mark.parametrize("case", REASONS)
def test_each_reason(case: str) -> None:
    reason, limited = case.split(" of ")
    refused = People(rules=FEW).see(*REASONS[case]).refused()
    if reason == "merges":
        assert [told.reason for told in refused] == ["merges"]
        return
    assert [(told.reason, told.limited) for told in refused] == [(reason, limited)]


def test_a_link_that_comes_after_later_ones_took_its_place_is_called_late() -> None:
    events = [page("d1", 0, "u1"), page("d1", 5, "u2")]
    (refused,) = People().see(*reversed(events)).refused()
    assert (refused.event_id, refused.late) == ("d1-0", True)


def test_refusals_demotions_and_late_links_are_counted() -> None:
    refusals = [
        Refusal(Identifier("email", "e"), "unique", "user_id", "c_other", late=True),
        Refusal(Identifier("device", "d1"), "limit", "device"),
    ]
    event = IdentityEvent("d1", "m1", T0, b"{}", "user_id:u1", [Identifier("user_id", "u1"), Identifier("email", "e")])
    event.linked = Linked("c_1", False, [], None, refusals)

    done = step(None, event, {}, 1)

    assert isinstance(done, Step)
    assert sorted(done.outcomes) == [
        ("identifier_refused", "device"),
        ("identifier_refused", "email"),
        ("late_link", "email"),
        ("link_refused", "limit"),
        ("link_refused", "unique"),
    ]


def test_an_event_before_the_first_of_a_device_whose_login_is_known_is_counted() -> None:
    state = step(None, IdentityEvent("d1", "m1", T0, b"{}"), {}, 1)
    assert isinstance(state, Step)
    assert state.state is not None
    state.state.links["user_id:u1"] = "c_1"

    done = step(state.state, IdentityEvent("d1", "m0", T0 - 1, b"{}"), {}, 1)

    assert isinstance(done, Step)
    assert done.outcomes == [("late_link", "first_event")]
    assert done.state is not None
    assert done.state.first_seen == T0 - 1


def test_the_largest_customer_is_measured() -> None:
    people = People().see(*(page(f"d{n}", n, "u1") for n in range(5)), page("d9", 9, "u2"))
    assert people.stage.largest() == {"customer": 6}

    registry = CollectorRegistry()
    StageMetrics("identity", registry).largest("identity", "customer").set(6)
    assert registry.get_sample_value("cartstream_largest", {"service": "identity", "kind": "customer"}) == 6


def test_a_login_is_refused_once_however_often_a_batch_has_it() -> None:
    events = [page("d1", 0, "u1"), *(page("d1", at, "u2") for at in (2, 3, 4))]
    for batch_size in (1, 2, 1_000):
        assert [told.event_id for told in People(batch_size=batch_size).see(*events).refused()] == ["d1-2"]
