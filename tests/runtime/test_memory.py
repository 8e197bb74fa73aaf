"""What the kernel gives when it is asked, which memory is worth asking for, and what goes back to it."""

from __future__ import annotations

import mmap
import platform
import threading

import pytest

from cartstream.runtime.memory import PAGE, Mapping, ask_for_large_pages, give_back, keep_house, large_pages_available, mappings

SIZE = 16 * PAGE
BLOCK, BLOCKS = 50_000, 4_000
"""Bytes of each, small enough to lie side by side in a heap."""


@pytest.mark.skipif(not large_pages_available(), reason="the kernel has no large pages, or is told never to give any")
def test_what_is_full_gets_large_pages() -> None:
    with mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        for at in range(0, SIZE, mmap.PAGESIZE):
            memory[at] = 1
        before = _large()
        assert ask_for_large_pages(budget_s=60) > 0
        assert _large() >= before + SIZE - 4 * PAGE
        assert all(memory[at] == 1 for at in range(0, SIZE, mmap.PAGESIZE))


def test_a_pass_ends_with_its_budget() -> None:
    assert ask_for_large_pages(budget_s=0) == 0


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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library: it has its own way with what is freed")
def test_what_is_free_between_blocks_in_use_goes_back_to_the_system() -> None:
    blocks = [bytearray(BLOCK) for _ in range(BLOCKS)]
    full = _resident()
    in_use = blocks[::100]
    del blocks
    give_back()
    assert _resident() < full - BLOCK * BLOCKS * 0.9
    assert all(len(block) == BLOCK for block in in_use)


def test_the_thread_ends_with_the_service() -> None:
    stop = threading.Event()
    keep_house(stop)
    (keeping,) = [thread for thread in threading.enumerate() if thread.name == "memory"]
    stop.set()
    keeping.join(10)
    assert not keeping.is_alive()


def _resident() -> int:
    return sum(mapping.resident for mapping in mappings())


def _large() -> int:
    return sum(mapping.large for mapping in mappings())
