"""The process's memory: large pages for what it keeps, and back to the system with what nobody uses.

States lie all over the memory, so an event waits for it several times, and each time also for the tables that say where a page is. A
page of 2 MiB needs one entry of those where small pages need 512. Linux gives large pages to whoever asks (madvise(2)); neither Python's
allocator nor glibc's asks. So a thread does, for the mappings that are nearly full: one that is mostly reserved, like a stack, would grow.

And glibc keeps what was freed between blocks still in use, such as the thousands of records that waited while a service lagged, for
as long as it runs. So the same thread asks it to give back whole pages of that: 1 to 13 ms of its locks, a part of the heap at a time.

It is a matter of speed and size alone: where the kernel has no large pages to give, or is told never to, and where the C library is
another one, nothing happens.
"""

from __future__ import annotations

import ctypes
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cartstream.runtime.log import logger

_ENABLED = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_MAPPINGS = Path("/proc/self/smaps")
_ADVISE, _COLLAPSE = 14, 25
"""MADV_HUGEPAGE and, since Linux 6.1, MADV_COLLAPSE: at once, not when the kernel comes by."""
PAGE = 2 << 20
_STRIDE = 4 * PAGE
_LEAST = 2 * PAGE
_FULL = 0.9
_EVERY_S = 5.0
_BUDGET_S = 0.05
"""Of one pass: a page takes about 2.5 ms, nearly all of it copying."""
_HEAD = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ (\d+)\s*(.*)")


@dataclass(frozen=True, slots=True)
class Mapping:
    """A part of the process's own memory, of no file. `resident` and `large` are bytes."""

    start: int
    end: int
    resident: int
    large: int

    @property
    def pages(self) -> range:
        """The beginnings of strides of whole large pages."""
        return range(-(-self.start // PAGE) * PAGE, self.end // PAGE * PAGE, _STRIDE)

    @property
    def worthwhile(self) -> bool:
        size = self.end - self.start
        return size >= _LEAST and self.resident >= _FULL * size and self.large < size - _LEAST


def large_pages_available() -> bool:
    try:
        return "[never]" not in _ENABLED.read_text()
    except OSError:
        return False  # another system, or a kernel without


def keep_house(stop: threading.Event) -> None:
    """In a thread of its own, until `stop`."""
    threading.Thread(target=_keep_house, args=(stop,), name="memory", daemon=True).start()


def give_back() -> None:
    """Free pages within the heaps of the C library, if it is glibc."""
    if _malloc_trim is not None:
        _malloc_trim(0)


def ask_for_large_pages(budget_s: float = _BUDGET_S) -> int:
    """One pass of so many seconds at most. How many bytes the kernel took up, those that it had before included; raises OSError where
    it cannot."""
    until, taken = time.monotonic() + budget_s, 0
    for mapping in mappings():
        if not mapping.worthwhile:
            continue
        for start in mapping.pages:
            if time.monotonic() > until:
                return taken
            taken += _advise(start, min(_STRIDE, mapping.pages.stop - start))
    return taken


def mappings() -> Iterator[Mapping]:
    """Readable and writable memory of the process that belongs to no file. Raises OSError."""
    start = end = resident = 0
    mine = False
    for line in _MAPPINGS.read_text().splitlines():
        head = _HEAD.match(line)
        if head is not None:
            start, end = int(head[1], 16), int(head[2], 16)
            mine = head[3] == "rw-p" and head[4] == "0" and head[5] in ("", "[heap]")
        elif mine and line.startswith("Rss:"):
            resident = int(line.split()[1]) * 1024
        elif mine and line.startswith("AnonHugePages:"):
            yield Mapping(start, end, resident, int(line.split()[1]) * 1024)


_libc = ctypes.CDLL(None, use_errno=True)
_madvise = getattr(_libc, "madvise", None)
_malloc_trim = getattr(_libc, "malloc_trim", None)
if _madvise is not None:
    _madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
if _malloc_trim is not None:
    _malloc_trim.argtypes = (ctypes.c_size_t,)


def _advise(start: int, size: int) -> int:
    """Refused is no fault: there may be no large page free just now, or an older kernel that comes by later."""
    if _madvise is None or _madvise(start, size, _ADVISE) != 0:
        raise OSError(ctypes.get_errno(), "the kernel gives no large pages")
    return size if _madvise(start, size, _COLLAPSE) == 0 else 0


def _keep_house(stop: threading.Event) -> None:
    asking = large_pages_available()
    while not stop.wait(_EVERY_S):
        give_back()
        if asking:
            try:
                ask_for_large_pages()
            except OSError as error:
                logger().debug("no large pages", why=str(error))
                asking = False
