"""Questions asked at the same time travel together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from cartstream.senders.coalesce import Coalescer


async def test_questions_of_the_same_moment_share_a_batch_and_get_their_own_answers() -> None:
    batches: list[list[int]] = []

    async def double(questions: Sequence[int]) -> list[int]:
        batches.append(list(questions))
        return [2 * question for question in questions]

    ask = Coalescer(double, most=4)

    assert await asyncio.gather(*(ask(n) for n in range(10))) == [2 * n for n in range(10)]
    assert [len(batch) for batch in batches] == [4, 4, 2]


async def test_a_failure_is_everybodys_in_the_batch_and_nobody_elses() -> None:
    async def picky(questions: Sequence[int]) -> list[int]:
        if 13 in questions:
            raise ValueError("no")
        return list(questions)

    ask = Coalescer(picky, most=2)
    answers = await asyncio.gather(ask(13), ask(1), ask(2), return_exceptions=True)

    assert [type(answer) for answer in answers] == [ValueError, ValueError, int]
    with pytest.raises(ValueError, match="no"):
        await ask(13)


async def test_an_asker_that_gives_up_takes_nobody_with_it() -> None:
    open_the_door = asyncio.Event()

    async def slow(questions: Sequence[int]) -> list[int]:
        await open_the_door.wait()
        return list(questions)

    ask = Coalescer(slow)
    leaving, staying = asyncio.ensure_future(ask(1)), asyncio.ensure_future(ask(2))
    await asyncio.wait([leaving, staying], timeout=0.01)
    leaving.cancel()
    open_the_door.set()

    assert await staying == 2
    assert leaving.cancelled()
