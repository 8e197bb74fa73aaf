"""What a partition of detection keeps of one product: who in this partition wants to hear of it, and what changed lately.

Nothing is kept of a product that nobody waits for, but for its last changes, so that who asks a moment later hears of them too; and as long
as it is out of stock, that it is. Watchers are never searched for: each asks at most once in the time that it is kept here.
"""

from __future__ import annotations

import msgspec

from cartstream.detection.notes import Change, Heard, News, Spill, Watch, Watcher, note, page_key
from cartstream.events.times import DAY, MINUTE, EventTime
from cartstream.runtime.stage import Output, Step

PRODUCT = 1
"""How an encoded product's state begins, where a customer's begins with text."""
PAGE = 128
CHANGES_LIMIT = 8
CHANGES_KEPT = 2 * DAY
"""Longer than any service is behind another: who asks for the time before a change hears of it also if the change was read first."""


class Page(msgspec.Struct, array_like=True, frozen=True):
    """Where watchers went. `shopper` is one of them: whatever has that key goes to this partition."""

    number: int
    until: EventTime
    shopper: str


class ProductState(msgspec.Struct, array_like=True, tag=PRODUCT):
    """A product, or a page of its watchers, which has nothing but these. `next_page` only grows. `over_at`: what was over by then goes."""

    product_id: str
    changes: list[Change] = []
    watchers: list[Watcher] = []
    pages: list[Page] = []
    next_page: int = 0
    over_at: EventTime = 0


def changed(state: ProductState | None, product_id: str, change: Change) -> Step[ProductState]:
    """Tell everybody who asked."""
    state = state or ProductState(product_id)
    if state.changes and change.at <= state.changes[-1].at:
        return Step(state, wake_at=_wake_at(state), outcomes=[("product", "repeated")])
    state.changes = [*state.changes, change][-CHANGES_LIMIT:]
    outputs = _tell(state, change)
    outputs += [note(page.shopper, page_key(product_id, page.number), change.at, Heard(product_id, change)) for page in state.pages]
    return Step(state, outputs, _wake_at(state), outcomes=[("product", "changed")])


def watched(state: ProductState | None, at: EventTime, watch: Watch) -> Step[ProductState]:
    """Remember who asks, and say what is known."""
    state = state or ProductState(watch.product_id)
    shopper = watch.watcher.customer_id
    outputs = [note(shopper, shopper, at, News(watch.product_id, state.changes, answers=True))]
    state.watchers = [*(known for known in state.watchers if known.customer_id != shopper), watch.watcher]
    if len(state.watchers) > PAGE:
        outputs.append(_spill(state, at))
    return Step(state, outputs, _wake_at(state), outcomes=[("product", "watched")])


def spilt(product_id: str, watchers: list[Watcher]) -> Step[ProductState]:
    page = ProductState(product_id, watchers=watchers)
    return Step(page, wake_at=_wake_at(page))


def heard(page: ProductState | None, change: Change) -> Step[ProductState]:
    """A page tells its own. None: all of them had waited long enough."""
    if page is None:
        return Step(None)
    return Step(page, _tell(page, change), _wake_at(page))


def wake(state: ProductState, watermark: EventTime) -> Step[ProductState]:
    """Forget what was over when time last passed: it may have passed in one leap, and who wants the product since before asks after it."""
    if not state.over_at:
        state.over_at = watermark
        return Step(state, wake_at=watermark + MINUTE)
    _forget(state, state.over_at)
    state.over_at = 0
    if not (state.changes or state.watchers or state.pages):
        return Step(None)
    return Step(state, wake_at=_wake_at(state))


def _tell(state: ProductState, change: Change) -> list[Output]:
    news = News(state.product_id, [change])
    return [note(watcher.customer_id, watcher.customer_id, change.at, news) for watcher in state.watchers if watcher.until > change.at]


def _spill(state: ProductState, at: EventTime) -> Output:
    page = Page(state.next_page, max(watcher.until for watcher in state.watchers), state.watchers[0].customer_id)
    spill = Spill(state.product_id, state.watchers)
    state.pages, state.watchers, state.next_page = [*state.pages, page], [], state.next_page + 1
    return note(page.shopper, page_key(state.product_id, page.number), at, spill)


def _forget(state: ProductState, watermark: EventTime) -> None:
    last = state.changes[-1:]
    state.changes = [change for change in state.changes if change.at + CHANGES_KEPT > watermark]
    if not state.changes and last and last[0].available is False:
        state.changes = last
    state.watchers = [watcher for watcher in state.watchers if watcher.until > watermark]
    state.pages = [page for page in state.pages if page.until > watermark]


def _wake_at(state: ProductState) -> EventTime | None:
    """None: it is out of stock, and nobody waits for it."""
    if state.over_at:
        return state.over_at + MINUTE
    times = [watcher.until for watcher in state.watchers] + [page.until for page in state.pages]
    times += [change.at + CHANGES_KEPT for change in state.changes[:-1]]
    times += [change.at + CHANGES_KEPT for change in state.changes[-1:] if change.available is not False]
    return min(times, default=None)


encode_product = msgspec.msgpack.Encoder().encode
decode_product = msgspec.msgpack.Decoder(ProductState).decode


def is_product(raw: bytes) -> bool:
    """Whether a stored state is of this kind."""
    return raw[1] == PRODUCT
