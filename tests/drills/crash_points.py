"""Named moments of the commit protocol at which a process kills itself: no fault code in the product.

`arm` wraps a public method of the product in this process. It fails loudly when the method is gone: then this table is to be mended.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_RUNTIME, _SENDERS = "cartstream.runtime", "cartstream.senders"


@dataclass(frozen=True, slots=True)
class Point:
    """Before or after `module.owner.method`, when its arguments are of that kind."""

    module: str
    owner: str
    method: str
    after: bool
    only: Callable[..., bool] = lambda *args, **more: True


STAGE_POINTS: dict[str, Point] = {}
SENDER_POINTS: dict[str, Point] = {}


def arm(name: str, nth: int) -> None:
    """SIGKILL this process when it comes to the point the `nth` time. Raises LookupError."""
    point = (STAGE_POINTS | SENDER_POINTS)[name]
    owner = getattr(importlib.import_module(point.module), point.owner)
    original = inspect.getattr_static(owner, point.method, None)
    if not callable(original):
        raise LookupError(f"{point.module}.{point.owner}.{point.method} is gone: mend tests/drills/crash_points.py")
    setattr(owner, point.method, _killing(original, point, nth))


def _killing(original: Callable[..., Any], point: Point, nth: int) -> Callable[..., Any]:
    passed = [0]

    def come(args: tuple[Any, ...], more: dict[str, Any]) -> None:
        if point.only(*args, **more):
            passed[0] += 1
            if passed[0] == nth:
                os.kill(os.getpid(), signal.SIGKILL)

    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def wrapped_async(*args: Any, **more: Any) -> Any:
            if not point.after:
                come(args, more)
            found = await original(*args, **more)
            if point.after:
                come(args, more)
            return found

        return wrapped_async

    @functools.wraps(original)
    def wrapped(*args: Any, **more: Any) -> Any:
        if not point.after:
            come(args, more)
        found = original(*args, **more)
        if point.after:
            come(args, more)
        return found

    return wrapped
