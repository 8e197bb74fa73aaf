from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from cartstream.detection.intent.labelled import read
from cartstream.errors import ConfigError


def file(folder: Path, text: str) -> Path:
    path = folder / "labelled.csv"
    path.write_text(text)
    return path


def test_columns_are_numbers_where_all_are_and_names_elsewhere(tmp_path: Path) -> None:
    found = read(file(tmp_path, "pages,kind,code,flat,bought\n3,a,1,x,true\n,b,2,x,no\n"), categories=["code"])

    assert found.columns == {"pages": [3.0, None], "kind": ["a", "b"], "code": ["1", "2"]}
    assert found.left == [False, True]
    assert found.left_out == {"flat": "the same in every row"}
    assert found.groups is None


def test_a_blank_is_what_nobody_said_also_where_the_others_are_names(tmp_path: Path) -> None:
    found = read(file(tmp_path, "device,code,bought\nmobile,1,true\n,,no\n"), categories=["code"])

    assert found.columns == {"device": ["mobile", None], "code": ["1", None]}


def test_columns_that_leak_the_label_are_never_used(tmp_path: Path) -> None:
    text = "PageValues;ExitRates;BounceRates;ProductRelated;Month;Revenue\n1;2;3;4;May;TRUE\n5;6;7;8;Nov;FALSE\n"

    found = read(file(tmp_path, text), leave_out=["Month"])

    assert set(found.columns) == {"ProductRelated"}
    assert found.left_out["PageValues"] == "leaks the label: it is computed from completed orders"
    assert found.left_out["Month"] == "left out on request"


def test_rows_of_one_customer_are_a_group(tmp_path: Path) -> None:
    found = read(file(tmp_path, "customer_id,pages,bought\nann,1,1\nbob,2,0\nann,3,0\n"))

    assert found.groups == ["ann", "bob", "ann"]
    assert set(found.columns) == {"pages"}


def test_a_gzipped_file_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "labelled.csv.gz"
    path.write_bytes(gzip.compress(b"pages\tbought\n1\tyes\n2\tno\n"))

    assert read(path).columns == {"pages": [1.0, 2.0]}


WRONG = {
    "pages\n1\n": "line 1: no column bought or Revenue",
    "pages,bought\n1,true,3\n": "line 2: 3 values for 2 columns",
    "pages,bought\n1,true\n2,perhaps\n": "line 3: the label is 'perhaps'",
    "pages,pages,bought\n1,2,true\n": "line 1: two columns have the same name",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_file_that_is_no_use_is_refused_by_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=WRONG[text]):
        read(file(tmp_path, text))


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no column colour; there are pages, bought"):
        read(file(tmp_path, "pages,bought\n1,true\n"), leave_out=["colour"])
    with pytest.raises(ConfigError, match="no column sold"):
        read(file(tmp_path, "pages,bought\n1,true\n"), "sold")
