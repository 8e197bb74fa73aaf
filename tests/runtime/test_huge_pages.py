"""What the kernel gives when it is asked, and which memory is worth asking for."""

from __future__ import annotations

import mmap
import threading

import pytest

from cartstream.runtime import huge_pages
from cartstream.runtime.huge_pages import PAGE, Mapping

SIZE = 16 * PAGE


@pytest.mark.skipif(not huge_pages.available(), reason="the kernel has no large pages, or is told never to give any")
def test_what_is_full_gets_large_pages() -> None:
    with mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        for at in range(0, SIZE, mmap.PAGESIZE):
            memory[at] = 1
        before = _large()
        assert huge_pages.ask(budget_s=60) > 0
        assert _large() >= before + SIZE - 4 * PAGE
        assert all(memory[at] == 1 for at in range(0, SIZE, mmap.PAGESIZE))


def test_a_pass_ends_with_its_budget() -> None:
    assert huge_pages.ask(budget_s=0) == 0


@pytest.mark.parametrize(
    ("mapping", "worthwhile"),
    [
        (Mapping(0, SIZE, SIZE, 0), True),
        (Mapping(0, SIZE, SIZE, SIZE), False),
        (Mapping(0, SIZE, SIZE, SIZE - PAGE), False),
        (Mapping(0, SIZE, SIZE // 2, 0), False),
        (Mapping(0, PAGE, PAGE, 0), False),
    ],
    ids=["full", "large already", "but for its edges", "half of it only reserved", "small"],
)
def test_only_what_is_nearly_full_is_worthwhile(mapping: Mapping, worthwhile: bool) -> None:
    assert mapping.worthwhile is worthwhile


def test_only_whole_large_pages_inside_a_mapping_are_asked_for() -> None:
    pages = Mapping(PAGE // 2, 11 * PAGE + 1, 0, 0).pages
    assert (pages.start, pages.stop) == (PAGE, 11 * PAGE)
    assert list(pages) == [PAGE, 5 * PAGE, 9 * PAGE]


def test_the_thread_ends_with_the_service() -> None:
    stop = threading.Event()
    huge_pages.keep_asking(stop)
    asking = [thread for thread in threading.enumerate() if thread.name == "huge-pages"]
    assert len(asking) == huge_pages.available()
    stop.set()
    for thread in asking:
        thread.join(10)
        assert not thread.is_alive()


def _large() -> int:
    return sum(mapping.large for mapping in huge_pages.mappings())
