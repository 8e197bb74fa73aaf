"""Named moments of the commit protocol at which a process kills or stops itself: no fault code in the product.

`arm` wraps a public method of the product in this process. It fails loudly when the method is gone: then this table is to be mended.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_STORE = ("cartstream.runtime.redis_store", "RedisStore")
_PUBLISHER = ("cartstream.runtime.publisher", "Publisher")
_PRODUCER = ("cartstream.runtime.publisher", "Producer")
_DIRECTORY = ("cartstream.identity.redis_directory", "RedisDirectory")
_LEDGER = ("cartstream.senders.ledger", "Ledger")
_SENDER = ("cartstream.senders.publisher", "Publisher")
_CHANNELS = {
    "email": ("cartstream.senders.email.smtp", "EmailChannel"),
    "sms": ("cartstream.senders.sms.twilio", "SmsChannel"),
    "push": ("cartstream.senders.push.webpush", "PushChannel"),
}


@dataclass(frozen=True, slots=True)
class Point:
    """Before or after a method of a class of a module, at the calls that `only` picks. `nth` is which of them counts."""

    place: tuple[str, str]
    method: str
    after: bool
    nth: int = 1
    only: Callable[..., bool] = lambda *args, **more: True


def _puts(state: str) -> Callable[..., bool]:
    return lambda ledger, swap, *args, **more: swap.entry.state == state


STAGE_POINTS = {
    "redis-write-before": Point(_STORE, "commit_all", False, 5),
    "redis-write-after": Point(_STORE, "commit_all", True, 5),
    "produce-before": Point(_PRODUCER, "produce", False, 20),
    "produce-after": Point(_PRODUCER, "produce", True, 20),
    "send-offsets-before": Point(_PRODUCER, "send_offsets_to_transaction", False, 5),
    "send-offsets-after": Point(_PRODUCER, "send_offsets_to_transaction", True, 5),
    "commit-before": Point(_PRODUCER, "commit_transaction", False, 5),
    "commit-after": Point(_PRODUCER, "commit_transaction", True, 5),
}
IDENTITY_POINTS = {
    "directory-write-before": Point(_DIRECTORY, "link", False, 2),
    "directory-write-after": Point(_DIRECTORY, "link", True, 2),
}
RECOVERY_POINTS = {
    "recovery-opened": Point(_STORE, "open", True, 1),
    "recovery-publishing": Point(_PUBLISHER, "publish", False, 1),
    "recovery-published": Point(_PUBLISHER, "publish", True, 1),
}
"""In the first steps of a process whose predecessor died after its Redis write: one after the other."""
SENDER_POINTS = {
    "intent-before": Point(_LEDGER, "swap", False, 1, _puts("intent")),
    "intent-after": Point(_LEDGER, "swap", True, 1, _puts("intent")),
    "outcome-before": Point(_LEDGER, "swap", False, 1, _puts("final")),
    "outcome-after": Point(_LEDGER, "swap", True, 1, _puts("final")),
    "offsets-before": Point(_SENDER, "publish", False, 1),
    "offsets-after": Point(_SENDER, "publish", True, 1),
}
CALL_POINTS = {f"call-after-{channel}": Point(place, "send", True, 1) for channel, place in _CHANNELS.items()}
_ALL = STAGE_POINTS | IDENTITY_POINTS | RECOVERY_POINTS | SENDER_POINTS | CALL_POINTS


def points_of(service: str) -> list[str]:
    """The points at which a service can be killed, but for those of recovery."""
    if service in _CHANNELS:
        return [*SENDER_POINTS, f"call-after-{service}"]
    return [*STAGE_POINTS, *(IDENTITY_POINTS if service == "identity" else ())]


def arm(name: str, number: int) -> None:
    """Send this process the signal `number` when it comes to the point for the time that its table says. Raises LookupError."""
    point = _ALL[name]
    module, owner_name = importlib.import_module(point.place[0]), point.place[1]
    owner: Any = getattr(module, owner_name, None)
    original = getattr(owner, point.method, None)
    if not callable(original):
        raise LookupError(f"{'.'.join(point.place)}.{point.method} is gone: mend tests/drills/crash_points.py")
    # A subclass in place of the class: what comes from C does not let its methods be set.
    _replace(owner, type(owner_name, (owner,), {point.method: _signalling(original, point, number)}))


def _replace(owner: object, wrapped: object) -> None:
    """Wherever in the product the class was imported by name; other users of a library's class keep theirs."""
    for name, module in list(sys.modules.items()):
        if name.startswith("cartstream."):
            for attribute, value in list(vars(module).items()):
                if value is owner:
                    setattr(module, attribute, wrapped)


def _signalling(original: Callable[..., Any], point: Point, number: int) -> Callable[..., Any]:
    passed = [0]

    def come(args: tuple[Any, ...], more: dict[str, Any]) -> None:
        if point.only(*args, **more):
            passed[0] += 1
            if passed[0] == point.nth:
                os.kill(os.getpid(), number)

    if inspect.iscoroutinefunction(original):

        async def wrapped_async(*args: Any, **more: Any) -> Any:
            if not point.after:
                come(args, more)
            found = await original(*args, **more)
            if point.after:
                come(args, more)
            return found

        return wrapped_async

    def wrapped(*args: Any, **more: Any) -> Any:
        if not point.after:
            come(args, more)
        found = original(*args, **more)
        if point.after:
            come(args, more)
        return found

    return wrapped
