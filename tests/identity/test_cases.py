"""The cases of docs/identity.md: each comes out as it says, and the document has them all."""

from __future__ import annotations

from itertools import permutations

import pytest

from tests.identity.cases import DOCUMENTED, TABLES, Case
from tests.identity.people import People

CASES = [pytest.param(case, id=f"{title}: {case.name}") for title, cases in TABLES.items() for case in cases]
REORDERED = [pytest.param(case, id=case.name) for cases in TABLES.values() for case in cases if case.any_order]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("batch_size", [1, 1_000])
def test_each_case_comes_out_as_the_document_says(case: Case, batch_size: int) -> None:
    people = People(batch_size=batch_size).see(*case.events)

    assert people.people == case.people
    assert [(told.identifier_type, told.reason) for told in people.refused()] == list(case.refused)
    assert len({people.customer_of(message) for message in case.same}) <= 1
    assert len({people.customer_of(message) for message in case.apart}) == len(case.apart)


@pytest.mark.parametrize("case", REORDERED)
def test_where_the_order_plays_no_part_every_order_gives_the_same(case: Case) -> None:
    for arrival in permutations(case.events):
        people = People(batch_size=1).see(*arrival, arrival[0])
        assert people.people == case.people
        assert len({people.customer_of(message) for message in case.same}) <= 1


def test_the_document_has_every_case() -> None:
    """`python -m tests.identity.cases` writes them."""
    assert DOCUMENTED.documented() == DOCUMENTED.rendered()
