"""`cartstream events check`: what each line would become, by the services' own code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from cartstream.cli import cli
from cartstream.errors import ConfigError
from cartstream.events.clicks import REASONS
from cartstream.events.formats.native import Incoming
from cartstream.events.formats.schemas import UNKNOWN
from cartstream.events.repairs import ENVELOPE_REPAIRS, REPAIRS
from cartstream.replay.check import Check, Outcome
from tests.identity.people import settings

PAGE: dict[str, Any] = {"type": "page", "anonymousId": "d-1", "messageId": "m-1", "timestamp": "2024-03-13T10:21:14.000Z"}
SECRETS = ("ann@example.test", "+4915112345678", "tok-123456", "u-secret")


def verdict(raw: bytes) -> tuple[str, int, tuple[str, ...]]:
    found = Check(settings(), None).verdict(1, Incoming(raw))
    assert set(found.reasons) <= {*REPAIRS, *REASONS}
    return found.outcome, found.events, found.reasons


def track(**properties: Any) -> bytes:
    return orjson.dumps(PAGE | {"type": "track", "event": "Product Added", "properties": properties})


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (orjson.dumps(PAGE), ("accepted", 1, ())),
        (track(product_id="p", price=9.5), ("accepted", 1, ())),
        (track(product_id="p", price="9,50 €"), ("repaired", 1, ("number_in_text",))),
        (track(product_id=["p"]), ("repaired", 1, ("field_dropped",))),
        (orjson.dumps(PAGE | {"userId": 5, "timestamp": 1710325274}), ("repaired", 1, ("id_not_text", "time_unit"))),
        (orjson.dumps({"batch": [PAGE, PAGE | {"type": "Screen"}]}), ("repaired", 2, ("type_spelling",))),
        (orjson.dumps({"batch": [PAGE, {"type": "dance"}, PAGE]}), ("refused", 2, ("unknown_type",))),
        (orjson.dumps(PAGE | {"type": "dance"}), ("refused", 0, ("unknown_type",))),
        (orjson.dumps(PAGE | {"anonymousId": None}), ("refused", 0, ("missing_id",))),
        (orjson.dumps(PAGE | {"anonymousId": "undefined"}), ("refused", 0, ("missing_id",))),
        (orjson.dumps(PAGE | {"timestamp": None}), ("refused", 0, ("missing_time",))),
        (orjson.dumps(PAGE | {"timestamp": "1999-01-01T00:00:00Z"}), ("refused", 0, ("before_retention",))),
        (orjson.dumps(PAGE | {"event": 7, "type": "track"}), ("refused", 0, ("wrong_schema",))),
        (orjson.dumps(PAGE | {"name": "x" * 1_100_000}), ("refused", 0, ("too_large",))),
        (b"nonsense", ("refused", 0, ("unparseable",))),
    ],
)
def test_a_record_is_accepted_repaired_or_refused_with_the_reason(raw: bytes, expected: tuple[str, int, tuple[str, ...]]) -> None:
    assert verdict(raw) == expected


def check(path: Path, *options: str, **environment: str) -> Result:
    return CliRunner().invoke(cli, ["events", "check", str(path), *options], env={"COLUMNS": "200", **environment})


def file(path: Path, *events: Any) -> Path:
    path.write_bytes(b"".join((event if isinstance(event, bytes) else orjson.dumps(event)) + b"\n" for event in events))
    return path


def test_every_line_has_its_verdict_and_the_exit_code_says_whether_any_is_refused(tmp_path: Path) -> None:
    path = file(tmp_path / "clicks.jsonl", PAGE, PAGE | {"userId": 5}, b"", b"nonsense")
    answer = check(path)
    assert answer.stdout.splitlines() == [
        "line 1: accepted, 1 event",
        "line 2: repaired (id_not_text), 1 event",
        "line 4: refused (unparseable): not JSON in UTF-8",
    ]
    assert "3 lines, 2 events kept" in answer.stderr
    assert REPAIRS["id_not_text"] in answer.stderr
    assert answer.exit_code == 1
    assert check(path, "--faults").stdout.splitlines()[0] == "line 2: repaired (id_not_text), 1 event"
    assert check(file(tmp_path / "good.jsonl", PAGE, PAGE | {"userId": 5})).exit_code == 0


def test_nothing_of_what_the_events_say_is_printed(tmp_path: Path) -> None:
    email, phone, token, user = SECRETS
    events = [
        PAGE | {"type": "identify", "userId": user, "traits": {"email": email, "phone": phone}},
        PAGE | {"type": email},
        PAGE | {"timestamp": email},
        PAGE | {"anonymousId": {"mail": email}},
        PAGE | {"context": {"device": {"token": token}}, "userId": [user]},
        PAGE | {"type": "track", "event": [email], "properties": {"product_id": {"a": email}, "price": token}},
        {"batch": [{"type": email, "userId": user}, PAGE]},
        email.encode(),
        b'{"type":"' + email.encode(),
    ]
    path = file(tmp_path / "clicks.jsonl", *events)
    for format in ("segment", "ga4", "snowplow", "cloudevents", "avro"):
        answer = check(path, "--format", format)
        assert len(answer.stdout.splitlines()) == len(events), answer.exception
        assert not [secret for secret in SECRETS if secret in answer.output]


def test_times_may_be_judged_as_if_the_events_came_now(tmp_path: Path) -> None:
    path = file(tmp_path / "clicks.jsonl", PAGE)
    assert check(path).exit_code == 0
    answer = check(path, "--now", CARTSTREAM_CLOCK="system")
    assert answer.stdout.startswith("line 1: refused (before_retention)")


def test_a_record_as_kcat_prints_it_brings_its_key_time_and_headers(tmp_path: Path) -> None:
    push = {"event": "view_cart", "ecommerce": {"items": []}}
    taken = {"topic": "clickstream", "ts": 1710325274000, "key": "d-1", "headers": ["trace", "1"], "payload": orjson.dumps(push).decode()}
    answer = check(file(tmp_path / "kcat.jsonl", taken), "--format", "ga4")
    assert answer.stdout == "line 1: repaired (id_from_key, time_from_record), 1 event\n"


def test_a_layout_that_no_clickstream_has_is_named(tmp_path: Path) -> None:
    path = file(tmp_path / "otto.jsonl", {"session": 1, "events": []})
    answer = check(path)
    assert isinstance(answer.exception, ConfigError)
    assert "otto is a recorded layout" in str(answer.exception)


def test_the_check_agrees_with_itself_whatever_the_order() -> None:
    checking = Check(settings(), None)
    raws = [orjson.dumps(PAGE), b"nonsense", orjson.dumps(PAGE | {"userId": 5})]
    forth = [checking.verdict(1, Incoming(raw)).outcome for raw in raws]
    back = [checking.verdict(1, Incoming(raw)).outcome for raw in reversed(raws)]
    assert forth == list(reversed(back)) == [Outcome.ACCEPTED, Outcome.REFUSED, Outcome.REPAIRED]


def test_the_documents_name_every_repair_and_every_reason() -> None:
    docs = Path(__file__).parents[2] / "docs"
    inputs, events = (docs / "inputs.md").read_text(), (docs / "events.md").read_text()
    assert [reason for reason in ENVELOPE_REPAIRS if f"| `{reason}` |" not in inputs] == []
    assert [reason for reason in (*REASONS, "bad_header", UNKNOWN) if f"`{reason}`" not in events] == []


def test_ids_are_blocked_by_the_rules_in_force(tmp_path: Path) -> None:
    """The package's block no ordinary id."""
    rules = tmp_path / "rules.yaml"
    rules.write_text("identifiers:\n  - {type: user_id, limit: 1}\n  - {type: device, limit: 20}\nblocked:\n  values: [d-1]\n")
    path = file(tmp_path / "clicks.jsonl", PAGE)
    assert check(path).exit_code == 0
    answer = check(path, CARTSTREAM_IDENTITY_RULES=str(rules))
    assert (answer.exit_code, "refused (missing_id)" in answer.stdout) == (1, True)
