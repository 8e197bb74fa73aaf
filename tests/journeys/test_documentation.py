from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from cartstream.journeys.definition import Cap, EntryGuards, Journey, Quiet, StepRule
from cartstream.journeys.loading import read_journeys

PAGE = Path(__file__).parents[2] / "docs" / "journeys.md"


def test_the_example_of_the_page_is_sound() -> None:
    example = re.search(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)

    assert example is not None
    assert read_journeys(example[1], "docs/journeys.md").find("cart_abandonment") is not None


@pytest.mark.parametrize(("kind", "prefix"), [(Journey, ""), (StepRule, ""), (EntryGuards, "entry."), (Cap, "cap."), (Quiet, "quiet.")])
def test_every_field_is_on_the_page(kind: type[msgspec.Struct], prefix: str) -> None:
    page = PAGE.read_text()
    fields = {field.encode_name for field in msgspec.structs.fields(kind)} - {"entry"}

    assert [name for name in sorted(fields) if f"`{prefix}{name}`" not in page] == []


def test_every_rule_that_decides_is_on_the_page() -> None:
    folder = Path(__file__).parents[2] / "services" / "cartstream" / "journeys"
    source = "".join((folder / name).read_text() for name in ("entry.py", "message.py", "step.py", "handover.py"))
    words = set(
        re.findall(r'(?:Refusal\(|"suppressed", |"deferred", |state, at, |joined, event.at, |signal.at, |customer.at, )"([a-z_]+)"', source)
    )

    assert len(words) > 15
    assert [rule for rule in sorted(words) if f"`{rule}`" not in PAGE.read_text()] == []
