from __future__ import annotations

import gzip
import itertools
import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from cartstream.errors import ConfigError
from cartstream.events.adapters import FORMATS, guess_format, read
from cartstream.events.clicks import decode_click, time_of

ECOM = "user_id,session_id,event,timestamp,platform,acquisition_channel\n"
SHOPPERS = (
    "Administrative;Administrative_Duration;Informational;Informational_Duration;ProductRelated;ProductRelated_Duration;Month;Revenue\n"
)
DATA = Path(os.environ.get("CARTSTREAM_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def events(path: Path, name: str | None = None) -> list[dict[str, Any]]:
    recorded = list(read(path, name))
    assert [entry.at for entry in recorded] == sorted(entry.at for entry in recorded)
    return [orjson.loads(entry.value) for entry in recorded]


def file(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_ecom_rows_become_events_and_shoppers_are_known_once_a_device(tmp_path: Path) -> None:
    rows = (
        "u1,s1,purchase,2024-03-13 10:00:09,mobile,x\n"
        "u1,s1,home,2024-03-13 10:00:00,mobile,x\n"
        "u1,s1,product_view,2024-03-13 10:00:01,mobile,x\n"
        "u1,s1,add_to_cart,2024-03-13 10:00:02,mobile,x\n"
        "u1,s1,payment_details,2024-03-13 10:00:03,mobile,x\n"
        "u1,s2,account_page,2024-03-13 11:00:00,mobile,x\n"
    )
    found = events(file(tmp_path / "e.csv", ECOM + rows))

    assert [(event["type"], event.get("event", event.get("name"))) for event in found] == [
        ("page", "home"),
        ("track", "Product Viewed"),
        ("track", "Product Added"),
        ("identify", None),
        ("track", "Payment Info Entered"),
        ("track", "Order Completed"),
        ("page", "account_page"),
    ]
    assert {event["anonymousId"] for event in found} == {"u1-mobile"}
    assert [event.get("userId") for event in found] == [None, None, None, "u1", "u1", "u1", "u1"]
    assert found[3]["traits"] == {"email": "u1@example.test", "consent": {"email": True, "sms": False, "push": False}}
    assert len({event["messageId"] for event in found}) == len(found)
    assert "products" not in found[5]["properties"]


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("ecom", ECOM + "u1,s1,home,2024-03-13 10:00:00,mobile,x\nu1,s1,home,yesterday,mobile,x\n", 3),
        ("ecom", ECOM + "u1,s1\n", 2),
        ("otto", '{"session":1,"events":[]}\nnonsense\n', 2),
        ("otto", '{"session":1,"events":[{"aid":1,"ts":1,"type":"sighs"}]}\n', 1),
        ("shoppers", SHOPPERS + "1;2;0;0;1;x;Feb;FALSE\n", 2),
        ("shoppers", SHOPPERS + "0;0;0;0;1;1;Smarch;FALSE\n", 2),
    ],
)
def test_a_bad_line_is_named_with_its_file(tmp_path: Path, name: str, text: str, line: int) -> None:
    path = file(tmp_path / "broken", text)
    with pytest.raises(ConfigError, match=rf"^{path}, line {line}: "):
        list(read(path, name))


def test_otto_sessions_are_devices_merged_by_time(tmp_path: Path) -> None:
    lines = (
        '{"session":1,"events":[{"aid":7,"ts":1659304800025,"type":"clicks"},{"aid":7,"ts":1659304900000,"type":"orders"}]}\n'
        '{"session":2,"events":[{"aid":8,"ts":1659304850000,"type":"carts"}]}\n'
    )
    found = events(file(tmp_path / "o.jsonl", lines))
    assert [(event["anonymousId"], event["event"]) for event in found] == [
        ("otto-1", "Product Viewed"),
        ("otto-2", "Product Added"),
        ("otto-1", "Order Completed"),
    ]
    assert found[2]["properties"]["products"] == [{"product_id": "7", "quantity": 1}]


def test_what_an_otto_visitor_orders_in_one_moment_is_one_order(tmp_path: Path) -> None:
    bought = ",".join(
        f'{{"aid":{aid},"ts":{ts},"type":"orders"}}' for aid, ts in ((7, 1659304800025), (8, 1659304800025), (9, 1659304800026))
    )
    found = events(file(tmp_path / "o.jsonl", f'{{"session":1,"events":[{bought}]}}\n'))
    assert [[product["product_id"] for product in event["properties"]["products"]] for event in found] == [["7", "8"], ["9"]]


def test_a_shoppers_row_is_one_visit_with_its_label_as_an_order(tmp_path: Path) -> None:
    found = events(file(tmp_path / "s.csv", SHOPPERS + "1;10;0;0;2;60;Feb;TRUE\n"))
    assert [event.get("event", event.get("name")) for event in found] == [
        "Administrative",
        "Product Viewed",
        "Product Viewed",
        "Order Completed",
    ]


def test_native_lines_go_on_whatever_they_hold(tmp_path: Path) -> None:
    good = '{"type":"page","anonymousId":"d1","timestamp":"2024-03-01T00:00:00Z"}'
    recorded = list(read(file(tmp_path / "n.jsonl", f"{good}\n\nnonsense\r\n{good}")))
    assert [(entry.key, entry.value) for entry in recorded] == [("d1", good.encode()), ("", b"nonsense"), ("d1", good.encode())]
    assert recorded[1].at == recorded[0].at


def test_a_gzipped_file_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "e.csv.gz"
    path.write_bytes(gzip.compress((ECOM + "u1,s1,home,2024-03-13 10:00:00,mobile,x\n").encode()))
    assert [event["type"] for event in events(path)] == ["page"]


def test_a_format_that_cannot_be_told_or_is_unknown_is_a_wrong_setting(tmp_path: Path) -> None:
    path = file(tmp_path / "x.txt", "what is this\n")
    with pytest.raises(ConfigError, match="name it: segment, ecom, otto, shoppers"):
        guess_format(path)
    with pytest.raises(ConfigError, match="format 'poem': say one of"):
        read(path, "poem")
    with pytest.raises(ConfigError, match="no such file"):
        read(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("file_name", "name"), [("ecom.csv.gz", "ecom"), ("otto_train_sample.jsonl", "otto"), ("online_shoppers_intention.csv", "shoppers")]
)
def test_field_data_becomes_events_that_can_be_read(file_name: str, name: str) -> None:
    path = DATA / file_name
    if not path.is_file():
        pytest.skip(f"{path} is not there: set CARTSTREAM_DATA to the folder of the field data")
    assert guess_format(path) == name
    assert name in FORMATS
    for entry in itertools.islice(read(path), 2_000):
        click = decode_click(entry.value)
        assert time_of(click.timestamp, entry.value) == entry.at
        assert click.anonymous_id == entry.key
