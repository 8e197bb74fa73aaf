"""What changes do to a cart. Adds are deltas, cart views are snapshots; removals and orders leave marks that older adds cannot cross."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from cartstream.events.clicks import MAX_ID, Action, Product, Properties
from cartstream.events.records import Cart, Item, Order
from cartstream.events.times import EventTime
from cartstream.sessions.basket import LINES_LIMIT, MARKS_LIMIT, Change, Entry, Held, Line

QUANTITY_LIMIT = 9_999
ENTRIES_LIMIT = 1_000
NAME_LIMIT = 200
CURRENCY_LIMIT = 16
_NO_LINE = Line(0, None, None, 0)
_ADD, _REMOVE, _CART, _CHECKOUT, _ORDER = Action.ADD, Action.REMOVE, Action.CART, Action.CHECKOUT, Action.ORDER


def change_of(action: Action, properties: Properties, at: EventTime, message_id: str, device_id: str | None) -> Change:
    entries = _entries(properties, action)
    currency = _short(properties.currency, CURRENCY_LIMIT)
    order = _order_of(properties, entries or [], currency) if action is _ORDER else None
    return Change(at, action, message_id, device_id, entries, currency, order)


def product_id_of(product: Product) -> str | None:
    """None too for what is longer than an id may be: a few of those would make a cart that no record can carry."""
    product_id = product.product_id or product.sku
    return product_id if product_id and len(product_id) <= MAX_ID else None


def _entries(properties: Properties, action: Action) -> list[Entry] | None:
    products: Sequence[Product] | None = properties.products
    if action is not _CART:
        products = products or (properties,)
    if products is None:
        return None
    return [entry for entry in map(_entry, products[:ENTRIES_LIMIT]) if entry is not None]


def _entry(product: Product) -> Entry | None:
    product_id = product_id_of(product)
    if product_id is None:
        return None
    quantity, price, name = product.quantity, product.price, product.name
    if quantity is not None and not 0 <= quantity <= QUANTITY_LIMIT:
        quantity = max(0, min(quantity, QUANTITY_LIMIT))
    if price is not None and not isfinite(price):  # trackers say NaN, too: as text it passes for a number
        price = None
    return Entry(product_id, quantity, price, name if name is None else name[:NAME_LIMIT])


def _order_of(properties: Properties, entries: list[Entry], currency: str | None) -> Order:
    said = (properties.total, properties.revenue, properties.value)
    value = next((amount for amount in said if amount is not None and isfinite(amount)), None)
    return Order(_short(properties.order_id, MAX_ID), value, currency, sorted({entry.product_id for entry in entries}))


def _short(text: str | None, limit: int) -> str | None:
    return text[:limit] if text else text


def apply(cart: Held, change: Change) -> str | None:
    """Change the cart. What to tell of it: the kind of an activity, or None if nothing came of it."""
    action = change.action
    if action == _CHECKOUT:
        return _checkout(cart, change.at)
    if action == _ADD:
        changed = _add(cart, change)
    elif action == _REMOVE:
        changed = _remove(cart, change)
    elif action == _CART:
        changed = _overwrite(cart, change)
    else:
        changed = _order(cart, change)
    if changed:
        cart.version = max(change.at, cart.version + 1)
        cart.currency = change.currency or cart.currency
    if action == _ORDER or (changed and not cart.lines):
        cart.checkout_at = 0
    if action == _ORDER:
        return "order_placed"
    return None if not changed else "cart_updated" if cart.lines else "cart_emptied"


def snapshot(cart: Held) -> Cart | None:
    """Products in the order of their id; None when empty."""
    if not cart.lines:
        return None
    items = [Item(product, line.quantity, line.price, line.name) for product, line in sorted(cart.lines.items())]
    value = round(sum([item.quantity * (item.price or 0.0) for item in items]), 2)
    return Cart(cart.version, items, value, cart.currency)


def put(basket: Held, cart: Held) -> None:
    """What is in the basket is this cart from now on."""
    basket.lines, basket.removed, basket.cleared_at = cart.lines, cart.removed, cart.cleared_at
    basket.version, basket.currency = cart.version, cart.currency
    basket.order_mark, basket.checkout_at = cart.order_mark, cart.checkout_at


def _checkout(cart: Held, at: EventTime) -> str | None:
    """Told once until the order."""
    first = cart.checkout_at <= cart.order_mark
    cart.checkout_at = max(cart.checkout_at, at)
    return "checkout_started" if first else None


def _add(cart: Held, change: Change) -> bool:
    at, changed = change.at, False
    for entry in change.entries or ():
        quantity = 1 if entry.quantity is None else entry.quantity
        if quantity == 0 or at <= cart.cleared_at or at <= cart.removed.get(entry.product_id, -1):
            continue
        line = cart.lines.get(entry.product_id)
        if line is None:
            if len(cart.lines) >= LINES_LIMIT:
                continue
            cart.lines[entry.product_id] = Line(quantity, entry.price, entry.name, at)
        else:
            cart.lines[entry.product_id] = _more(line, quantity, entry, at)
        changed = True
    return changed


def _more(line: Line, quantity: int, entry: Entry, at: EventTime) -> Line:
    quantity = min(line.quantity + quantity, QUANTITY_LIMIT)
    if at < line.at:
        return Line(quantity, line.price, line.name, line.at)
    return Line(quantity, line.price if entry.price is None else entry.price, entry.name or line.name, at)


def _remove(cart: Held, change: Change) -> bool:
    at, changed = change.at, False
    for entry in change.entries or ():
        line = cart.lines.get(entry.product_id)
        if at <= cart.cleared_at:
            continue
        if line is not None and entry.quantity is not None and line.quantity > entry.quantity:
            cart.lines[entry.product_id] = Line(line.quantity - entry.quantity, line.price, line.name, max(line.at, at))
            changed = True
        elif line is None or line.at <= at:
            changed |= _drop(cart, entry.product_id, at)
    return changed


def _overwrite(cart: Held, change: Change) -> bool:
    """A snapshot counts only when it is newer than all that is known. One that names no products says nothing.

    What it leaves out of a product that was in the cart, its price or name, stays as it was.
    """
    at = change.at
    if change.entries is None or at <= max(cart.cleared_at, cart.version):
        return False
    before, cart.lines = cart.lines, {}
    for entry in change.entries[:LINES_LIMIT]:
        known = before.get(entry.product_id, _NO_LINE)
        quantity = 1 if entry.quantity is None else entry.quantity
        if quantity:
            price = known.price if entry.price is None else entry.price
            cart.lines[entry.product_id] = Line(quantity, price, entry.name or known.name, at)
    cart.cleared_at = at
    return _content(before) != _content(cart.lines)


def _content(lines: dict[str, Line]) -> dict[str, tuple[int, float | None]]:
    return {product_id: (line.quantity, line.price) for product_id, line in lines.items()}


def _order(cart: Held, change: Change) -> bool:
    """What was bought leaves the cart: the products that the order names, or everything when it names none."""
    at = change.at
    cart.order_mark = max(cart.order_mark, at)
    if change.entries:
        dropped = [_drop(cart, entry.product_id, at) for entry in change.entries if _older(cart, entry.product_id, at)]
        return any(dropped)
    cart.cleared_at = max(cart.cleared_at, at)
    gone = [product_id for product_id, line in cart.lines.items() if line.at <= at]
    for product_id in gone:
        del cart.lines[product_id]
    return bool(gone)


def _older(cart: Held, product_id: str, at: EventTime) -> bool:
    line = cart.lines.get(product_id)
    return line is None or line.at <= at


def _drop(cart: Held, product_id: str, at: EventTime) -> bool:
    cart.removed[product_id] = max(at, cart.removed.get(product_id, at))
    if len(cart.removed) > MARKS_LIMIT:
        del cart.removed[min(cart.removed, key=lambda known: (cart.removed[known], known))]
    return cart.lines.pop(product_id, None) is not None


def join(cart: Held, other: Held) -> bool:
    """Bring in the cart of a customer who is the same person: the larger quantity per product, no line across a later mark."""
    before = {product_id: line.quantity for product_id, line in cart.lines.items()}
    for product_id, at in other.removed.items():
        cart.removed[product_id] = max(at, cart.removed.get(product_id, at))
    cart.cleared_at = max(cart.cleared_at, other.cleared_at)
    cart.order_mark = max(cart.order_mark, other.order_mark)
    cart.checkout_at = max(cart.checkout_at, other.checkout_at)
    for product_id, line in other.lines.items():
        mine = cart.lines.get(product_id)
        if mine is None or line.quantity > mine.quantity:
            cart.lines[product_id] = Line(line.quantity, line.price, line.name, max(line.at, mine.at if mine else line.at))
    # What a snapshot cleared at its own time is the rest, not what it showed: so a line of that time stays.
    for product_id in [p for p, line in cart.lines.items() if line.at < cart.cleared_at or line.at <= cart.removed.get(p, -1)]:
        del cart.lines[product_id]
    cart.currency = cart.currency or other.currency
    changed = before != {product_id: line.quantity for product_id, line in cart.lines.items()}
    if changed:  # a version names a content that others were told of: the guard must not speak of one that nobody has heard
        cart.version = max(cart.version, other.version)
    return changed
