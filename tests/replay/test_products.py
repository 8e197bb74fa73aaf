from __future__ import annotations

import json
from pathlib import Path

import pytest

from cartstream.errors import ConfigError
from cartstream.events.adapters.recorded import Recorded, event
from cartstream.events.times import DAY, HOUR, iso
from cartstream.replay.products import read_products
from cartstream.replay.run import Replay

T0 = 1_710_000_000_000


def product(at: int, price: float) -> str:
    return json.dumps({"product_id": "shoe", "at": iso(T0 + at), "price": price, "currency": "EUR"})


def clicks() -> list[Recorded]:
    added = event(T0, "d1", "m1", "track", "Product Added", properties={"product_id": "shoe", "price": 10.0, "currency": "EUR"})
    return [added, event(T0 + 3 * HOUR, "d2", "m2", "page")]


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_replay_tells_of_prices_before_and_after_the_last_event(tmp_path: Path, partitions: int) -> None:
    file = tmp_path / "products.jsonl"
    file.write_text("\n".join([product(2 * HOUR, 8.0), "", product(-HOUR, 10.0), product(30 * HOUR, 6.0)]))
    with Replay(tmp_path / "out", partitions, read_products(file)) as replay:
        replay.play(clicks(), 2 * DAY)

    signals = map(json.loads, (tmp_path / "out" / "signals.jsonl").read_text().splitlines())
    drops = [(signal["at"], signal["product"]["price"]) for signal in signals if signal["kind"] == "price_dropped"]
    assert drops == [(iso(T0 + 2 * HOUR), 8.0), (iso(T0 + 30 * HOUR), 6.0)]


def test_a_line_that_is_no_product_is_named(tmp_path: Path) -> None:
    file = tmp_path / "products.jsonl"
    file.write_text(product(0, 1.0) + "\n{}\n")
    with pytest.raises(ConfigError, match=r"products.jsonl:2: wrong_schema"):
        read_products(file)
