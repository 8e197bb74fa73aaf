from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator

import pytest

from cartstream.runtime.bounded import Bounded, LeftBehind


class Client:
    """Stands for what a call is made on."""

    def fail(self) -> None:
        raise ValueError("refused")


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def test_it_gives_what_the_call_gives_and_raises_what_it_raises() -> None:
    calls = Bounded("call")

    assert calls.call(lambda: 7, 10.0) == 7
    with pytest.raises(ValueError, match="refused"):
        calls.call(Client().fail, 10.0)


def test_what_a_call_was_made_on_is_not_kept(no_collection: None) -> None:
    calls = Bounded("call")
    clients = [Client() for _ in range(2)]
    gone = [weakref.ref(client) for client in clients]

    for client in clients:
        try:
            calls.call(client.fail, 10.0)
        except ValueError:
            del client
    clients.clear()
    # The thread lets go of the last call once it waits for another.
    calls.call(lambda: None, 10.0)

    assert [one() for one in gone] == [None, None]


def test_a_call_that_does_not_come_back_is_left_behind_and_the_next_goes_on() -> None:
    calls, never = Bounded("call"), threading.Event()

    with pytest.raises(LeftBehind, match="call did not come back"):
        calls.call(never.wait, 0.05)

    assert calls.left_behind == 1
    assert calls.call(lambda: 7, 10.0) == 7
    never.set()
