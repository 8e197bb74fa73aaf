"""`cartstream identity dry-run`: which customers other rules would change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartstream.errors import ConfigError
from cartstream.identity.dry_run import KINDS, Cluster, changes
from cartstream.identity.rules import DEFAULT
from cartstream.identity.state import anonymous_customer, shared_customer
from tests.identity.people import device, email, identify, page, user
from tests.identity.recorded import identity, json_of, written

ADDRESSES = ("ann@example.test", "bea@example.test")
EVENTS = (
    identify("d1", 0, "u1", email=ADDRESSES[0]),
    identify("d2", 10, "u1", email=ADDRESSES[1]),
    identify("d3", 20, email=ADDRESSES[1]),
    page("d4", 30, "u4"),
    page("d5", 40),
)


def rules(path: Path, *changed: tuple[str, str]) -> Path:
    text = DEFAULT.read_text()
    for old, new in changed:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


def run(tmp_path: Path, *changed: tuple[str, str], events: Any = EVENTS, **environment: str) -> list[dict[str, Any]]:
    """The changes, then the summary."""
    new = rules(tmp_path / "new.yaml", *changed)
    answer = identity("dry-run", "--rules", new, "--input", written(tmp_path / "in.jsonl", *events), "--json", **environment)
    assert answer.exit_code == 0, answer.output
    assert "example.test" not in answer.output
    return json_of(answer)


ONE_EMAIL = ("{type: email, limit: 5, within: 365d}", "{type: email, limit: 1}")


def test_a_stricter_limit_splits_customers_and_counts_the_links_it_refuses(tmp_path: Path) -> None:
    split, summary = run(tmp_path, ONE_EMAIL)
    whole = {
        "customer_id": anonymous_customer("d1"),
        "names": sorted([*map(device, ("d1", "d2", "d3")), *map(email, ADDRESSES), user("u1")]),
    }
    kept = {"customer_id": anonymous_customer("d1"), "names": sorted([device("d1"), device("d2"), email(ADDRESSES[0]), user("u1")])}
    apart = {"customer_id": anonymous_customer("d3"), "names": sorted([device("d3"), email(ADDRESSES[1])])}
    assert split["kind"] == "split"
    assert split["today"] == [whole]
    assert split["new"] == sorted([kept, apart], key=lambda cluster: str(cluster["customer_id"]))
    assert (summary["events"], summary["changes"]) == (5, {"split": 1})
    assert summary["today"] == {"customers": 2, "largest": 6, "sizes": sizes(two=1, six=1), "refused": {}, "dead_letters": 0}
    assert summary["new"] == {"customers": 3, "largest": 4, "sizes": sizes(two=2, five=1), "refused": {"unique": 1}, "dead_letters": 0}


def sizes(two: int = 0, five: int = 0, six: int = 0) -> dict[str, int]:
    return {"1": 0, "2": two, "3 to 5": five, "6 to 10": six, "11 to 100": 0, "101 to 1,000": 0, "more": 0}


def test_a_wider_limit_joins_what_the_rules_in_force_keep_apart(tmp_path: Path) -> None:
    """Today's rules are those that CARTSTREAM_IDENTITY_RULES names."""
    today = rules(tmp_path / "today.yaml", ONE_EMAIL)
    joined, summary = run(tmp_path, CARTSTREAM_IDENTITY_RULES=str(today))
    assert (joined["kind"], len(joined["today"]), len(joined["new"])) == ("joined", 2, 1)
    assert (summary["today"]["refused"], summary["new"]["refused"]) == ({"unique": 1}, {})


def test_the_same_rules_change_nothing(tmp_path: Path) -> None:
    (summary,) = run(tmp_path)
    assert (summary["kind"], summary["changes"]) == ("summary", {})
    assert summary["today"] == summary["new"]


def test_a_device_that_is_nobodys_any_more_is_a_customer_of_its_own(tmp_path: Path) -> None:
    split, summary = run(tmp_path, ("{type: device, limit: 20, within: 30d}", "{type: device, limit: 1}"), events=EVENTS[:2])
    assert split["kind"] == "split"
    assert {"customer_id": shared_customer("d2"), "names": [device("d2")]} in split["new"]
    assert summary["new"]["refused"] == {"unique": 1}


def test_a_value_that_becomes_blocked_leaves_its_device_to_itself(tmp_path: Path) -> None:
    changed, _ = run(tmp_path, ("    - anonymous\n", "    - anonymous\n    - u4\n"))
    assert changed["kind"] == "changed"
    assert changed["today"] == [{"customer_id": anonymous_customer("d4"), "names": [device("d4"), user("u4")]}]
    assert changed["new"] == [{"customer_id": anonymous_customer("d4"), "names": [device("d4")]}]


def test_events_that_cannot_be_used_any_more_are_counted(tmp_path: Path) -> None:
    """A device that becomes blocked, on events without a user."""
    vanished, summary = run(tmp_path, ("    - anonymous\n", "    - anonymous\n    - d5\n"))
    assert (vanished["kind"], vanished["today"]) == ("vanished", [{"customer_id": anonymous_customer("d5"), "names": [device("d5")]}])
    assert (summary["today"]["dead_letters"], summary["new"]["dead_letters"]) == (0, 1)


def test_people_read_a_line_a_change_and_a_table(tmp_path: Path) -> None:
    new = rules(tmp_path / "new.yaml", ONE_EMAIL)
    answer = identity("dry-run", "--rules", new, "--input", written(tmp_path / "in.jsonl", *EVENTS), "--format", "segment")
    assert answer.exit_code == 0
    first, *table = answer.stdout.splitlines()
    assert first.startswith("split: c_")
    assert " -> " in first
    assert "5 events, 1 changes" in "\n".join(table)
    assert next(line for line in table if "links refused: unique" in line).replace("│", " ").split()[-2:] == ["0", "1"]


@pytest.mark.parametrize("written_as", ["identifiers: []", "identifiers:\n  - {type: mail, limit: 1}"])
def test_rules_that_are_wrong_are_named_with_their_place(tmp_path: Path, written_as: str) -> None:
    new = tmp_path / "new.yaml"
    new.write_text(written_as)
    answer = identity("dry-run", "--rules", new, "--input", written(tmp_path / "in.jsonl", *EVENTS))
    assert isinstance(answer.exception, ConfigError)
    assert f"{new}:" in str(answer.exception)


def test_each_way_to_change_has_its_word() -> None:
    def told(today: list[str], new: list[str]) -> list[str]:
        """Clusters as their customer and a letter a name: `1 ab`."""
        sides = [[Cluster(text.split()[0], tuple(text.split()[1])) for text in side] for side in (today, new)]
        return [change.kind for change in changes(*sides)]

    found = [
        told(["1 abc"], ["1 ab", "2 c"]),
        told(["1 ab", "2 c"], ["1 abc"]),
        told(["1 ab", "2 cd"], ["1 ac", "2 bd"]),
        told(["1 ab"], ["1 abc"]),
        told(["1 ab"], ["2 ab"]),
        told([], ["1 a"]),
        told(["1 a"], []),
    ]
    assert found == [[kind] for kind in KINDS]
    assert told(["1 ab", "2 cd", "3 e"], ["1 ab", "2 c", "4 d", "5 e"]) == ["split", "renamed"]


PARTITIONS = st.lists(st.integers(0, 4), min_size=8, max_size=8)


@given(PARTITIONS, PARTITIONS)
def test_every_identifier_that_moves_is_in_one_change_and_no_other_is(one: list[int], other: list[int]) -> None:
    def clusters(numbers: list[int]) -> set[Cluster]:
        grouped = {number: tuple("abcdefgh"[n] for n, own in enumerate(numbers) if own == number) for number in set(numbers)}
        return {Cluster(f"c{number}", names) for number, names in grouped.items()}

    today, new = clusters(one), clusters(other)
    found = changes(today, new)
    assert {cluster for change in found for cluster in change.today} == today - new
    assert {cluster for change in found for cluster in change.new} == new - today
    for change in found:
        before, after = ([name for cluster in side for name in cluster.names] for side in (change.today, change.new))
        assert sorted(before) == sorted(after)
    moved = [name for change in found for cluster in change.today for name in cluster.names]
    assert len(moved) == len(set(moved))
