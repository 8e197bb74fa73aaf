"""One round trip for many askers: calls made while another is under way travel together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

A = TypeVar("A")
B = TypeVar("B")


class Coalescer(Generic[A, B]):
    """`await coalescer(x)` gives what `ask([... x ...])` answers at x's place.

    `ask` gets 1 to `most` questions and answers each, in order; its failure is every asker's. One ask at a time, so a
    batch grows by itself while the server is busy and is one question when it is not.
    """

    def __init__(self, ask: Callable[[Sequence[A]], Awaitable[Sequence[B]]], most: int = 500) -> None:
        self._ask, self._most = ask, most
        self._waiting: list[tuple[A, asyncio.Future[B]]] = []
        self._worker: asyncio.Task[None] | None = None

    def __call__(self, question: A) -> asyncio.Future[B]:
        answer: asyncio.Future[B] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        return answer

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            try:
                answers = await self._ask([question for question, _ in batch])
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
            else:
                for (_, future), answer in zip(batch, answers, strict=True):
                    if not future.done():
                        future.set_result(answer)
        self._worker = None
