"""What changes do to a cart. Adds are deltas, cart views are snapshots; removals and orders leave marks that older adds cannot cross."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from cartstream.events.clicks import MAX_ID, Action, Product, Properties
from cartstream.events.records import Cart, Item, Order
from cartstream.events.times import EventTime
from cartstream.sessions.basket import LINES_LIMIT, MARKS_LIMIT, ORDERED_LIMIT, Basket, Change, Entry, Held, Line, both
from cartstream.sessions.views import PRICE_LIMIT, currency_code

QUANTITY_LIMIT = 9_999
ENTRIES_LIMIT = 1_000
NAME_LIMIT = 200
_NO_LINE = Line(0, None, None, 0)
_ADD, _REMOVE, _CART, _CHECKOUT, _ORDER = Action.ADD, Action.REMOVE, Action.CART, Action.CHECKOUT, Action.ORDER


def change_of(
    action: Action, properties: Properties, at: EventTime, message_id: str, device_id: str | None, repairs: list[str] | None = None
) -> Change:
    """`repairs` takes a word of `events.properties.PROPERTY_REPAIRS` for each number that no cart could have."""
    entries = _entries(properties, action, [] if repairs is None else repairs)
    currency = currency_of(properties)
    order = _order_of(properties, entries or [], currency) if action is _ORDER else None
    return Change(at, action, message_id, device_id, entries, currency, order)


def currency_of(properties: Properties) -> str | None:
    said = properties.currency
    return currency_code(said) if said else None


def price_of(product: Product) -> float | None:
    """None too for what cannot be a price: below nothing, or no number (trackers say NaN, too: as text it passes for one)."""
    price = product.price
    return price if price is not None and 0 <= price <= PRICE_LIMIT else None


def product_id_of(product: Product) -> str | None:
    """None too for what is longer than an id may be: a few of those would make a cart that no record can carry."""
    product_id = product.product_id or product.sku
    return product_id if product_id and len(product_id) <= MAX_ID else None


def _entries(properties: Properties, action: Action, repairs: list[str]) -> list[Entry] | None:
    products: Sequence[Product] | None = properties.products
    if action is not _CART:
        products = products or (properties,)
    if products is None:
        return None
    found = [_entry(product, action, repairs) for product in products[:ENTRIES_LIMIT]]
    return [entry for entry in found if entry is not None]


def _entry(product: Product, action: Action, repairs: list[str]) -> Entry | None:
    product_id = product_id_of(product)
    if product_id is None:
        return None
    quantity, price, name = product.quantity, price_of(product), product.name
    if quantity is not None and not 0 <= quantity <= QUANTITY_LIMIT:
        repairs.append("out_of_range")
        quantity = max(0, min(-quantity if action is _REMOVE and quantity < 0 else quantity, QUANTITY_LIMIT))
    if price is None and product.price is not None:
        repairs.append("out_of_range")
    return Entry(product_id, quantity, price, name if name is None else name[:NAME_LIMIT])


def _order_of(properties: Properties, entries: list[Entry], currency: str | None) -> Order:
    said = (properties.total, properties.revenue, properties.value)
    value = next((amount for amount in said if amount is not None and isfinite(amount) and amount >= 0), None)
    return Order(_short(properties.order_id, MAX_ID), value, currency, sorted({entry.product_id for entry in entries}))


def _short(text: str | None, limit: int) -> str | None:
    return text[:limit] if text else text


def apply(cart: Basket, change: Change) -> str | None:
    """Change the cart. What to tell of it: the kind of an activity, or None if nothing came of it."""
    action = change.action
    bought = action == _ORDER and not cart.has_ordered(change.order)
    if action == _CHECKOUT:
        return _checkout(cart, change.at)
    if action == _ADD:
        changed = _add(cart, change)
    elif action == _REMOVE:
        changed = _remove(cart, change)
    elif action == _CART:
        changed = _overwrite(cart, change)
    else:
        changed = _order(cart, change) if bought else _more_of_order(cart, change)
    if changed:
        cart.version = max(change.at, cart.version + 1)
        cart.currency = cart.currency or change.currency
    if bought or (changed and not cart.lines):
        cart.checkout_at = 0
    if bought:
        cart.remember_order(change.order)
        return "order_placed"
    return None if not changed else "cart_updated" if cart.lines else "cart_emptied"


def snapshot(cart: Held) -> Cart | None:
    """Products in the order of their id; None when empty. A price in another currency than the cart's is not told: nobody adds those up."""
    if not cart.lines:
        return None
    items = [
        Item(product, line.quantity, line.price if line.currency is None else None, line.name)
        for product, line in sorted(cart.lines.items())
    ]
    value = round(sum([item.quantity * (item.price or 0.0) for item in items]), 2)
    return Cart(cart.version, items, value, cart.currency)


def put(basket: Basket, cart: Basket) -> None:
    """What is in the basket is this cart from now on. What the basket has seen, it has seen."""
    basket.lines, basket.removed, basket.cleared_at = cart.lines, cart.removed, cart.cleared_at
    basket.version, basket.currency = cart.version, cart.currency
    basket.order_mark, basket.checkout_at, basket.ordered = cart.order_mark, cart.checkout_at, cart.ordered


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
        if entry.product_id not in cart.lines and len(cart.lines) >= LINES_LIMIT:
            continue
        currency = _foreign(cart, change, entry)
        line = cart.lines.get(entry.product_id)
        if line is None:
            cart.lines[entry.product_id] = Line(quantity, entry.price, entry.name, at, currency)
        else:
            cart.lines[entry.product_id] = _more(line, quantity, entry, at, currency)
        changed = True
    return changed


def _more(line: Line, quantity: int, entry: Entry, at: EventTime, currency: str | None) -> Line:
    quantity = min(line.quantity + quantity, QUANTITY_LIMIT)
    if at < line.at:
        return Line(quantity, line.price, line.name, line.at, line.currency)
    if entry.price is None:
        return Line(quantity, line.price, entry.name or line.name, at, line.currency)
    return Line(quantity, entry.price, entry.name or line.name, at, currency)


def _foreign(cart: Held, change: Change, entry: Entry) -> str | None:
    """The currency of a price that comes in, if it is not the cart's. The latest price makes it the cart's."""
    said = change.currency
    if said is None or entry.price is None or said == cart.currency:
        return None
    if cart.lines and change.at < cart.version:
        return said
    _turn_to(cart, said)
    return None


def _turn_to(cart: Held, currency: str) -> None:
    """The prices that are known stay in the currency that they are in. Those of none are in the first that is named."""
    before, cart.currency = cart.currency, currency
    for product_id, line in cart.lines.items():
        said = line.currency or before
        if line.price is not None and said is not None:
            cart.lines[product_id] = Line(line.quantity, line.price, line.name, line.at, None if said == currency else said)


def _remove(cart: Held, change: Change) -> bool:
    at, changed = change.at, False
    for entry in change.entries or ():
        line = cart.lines.get(entry.product_id)
        if at <= cart.cleared_at or entry.quantity == 0:
            continue
        if line is not None and entry.quantity is not None and line.quantity > entry.quantity:
            cart.lines[entry.product_id] = Line(line.quantity - entry.quantity, line.price, line.name, max(line.at, at), line.currency)
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
    if change.currency is not None and change.currency != cart.currency and any(entry.price is not None for entry in change.entries):
        _turn_to(cart, change.currency)
    before, cart.lines = cart.lines, {}
    for entry in change.entries[:LINES_LIMIT]:
        known = before.get(entry.product_id, _NO_LINE)
        quantity = 1 if entry.quantity is None else entry.quantity
        if quantity:
            price, currency = (known.price, known.currency) if entry.price is None else (entry.price, None)
            cart.lines[entry.product_id] = Line(quantity, price, entry.name or known.name, at, currency)
    cart.cleared_at = at
    return _content(before) != _content(cart.lines)


def _content(lines: dict[str, Line]) -> dict[str, tuple[int, float | None, str | None]]:
    return {product_id: (line.quantity, line.price, line.currency) for product_id, line in lines.items()}


def _order(cart: Held, change: Change) -> bool:
    """What was bought leaves the cart: the products that the order names, or everything when it names none."""
    at = change.at
    cart.order_mark = max(cart.order_mark, at)
    if change.entries:
        return _bought(cart, change.entries, at)
    cart.cleared_at = max(cart.cleared_at, at)
    gone = [product_id for product_id, line in cart.lines.items() if line.at <= at]
    for product_id in gone:
        del cart.lines[product_id]
    return bool(gone)


def _more_of_order(cart: Held, change: Change) -> bool:
    """An order told again, or in parts, is one purchase: what it names was bought then, and what was added since was not."""
    return _bought(cart, change.entries or [], min(change.at, cart.order_mark))


def _bought(cart: Held, entries: list[Entry], at: EventTime) -> bool:
    dropped = [_drop(cart, entry.product_id, at) for entry in entries if _older(cart, entry.product_id, at)]
    return any(dropped)


def _older(cart: Held, product_id: str, at: EventTime) -> bool:
    line = cart.lines.get(product_id)
    return line is None or line.at <= at


def _drop(cart: Held, product_id: str, at: EventTime) -> bool:
    cart.removed[product_id] = max(at, cart.removed.get(product_id, at))
    if len(cart.removed) > MARKS_LIMIT:
        del cart.removed[min(cart.removed, key=lambda known: (cart.removed[known], known))]
    return cart.lines.pop(product_id, None) is not None


def join(cart: Basket, other: Basket) -> bool:
    """Bring in the cart of a customer who is the same person: the larger quantity per product, no line across a later mark."""
    before = {product_id: line.quantity for product_id, line in cart.lines.items()}
    for product_id, at in other.removed.items():
        cart.removed[product_id] = max(at, cart.removed.get(product_id, at))
    cart.cleared_at = max(cart.cleared_at, other.cleared_at)
    cart.order_mark = max(cart.order_mark, other.order_mark)
    cart.checkout_at = max(cart.checkout_at, other.checkout_at)
    if other.ordered is not None:
        cart.ordered = both(other.ordered, cart.ordered or b"", ORDERED_LIMIT)
    cart.currency = (cart.currency if cart.lines else other.currency or cart.currency) or other.currency
    for product_id, line in other.lines.items():
        mine = cart.lines.get(product_id)
        if mine is None or line.quantity > mine.quantity:
            currency = line.currency or other.currency
            foreign = currency if line.price is not None and currency != cart.currency else None
            cart.lines[product_id] = Line(line.quantity, line.price, line.name, max(line.at, mine.at if mine else line.at), foreign)
    # What a snapshot cleared at its own time is the rest, not what it showed: so a line of that time stays.
    for product_id in [p for p, line in cart.lines.items() if line.at < cart.cleared_at or line.at <= cart.removed.get(p, -1)]:
        del cart.lines[product_id]
    changed = before != {product_id: line.quantity for product_id, line in cart.lines.items()}
    if changed:  # a version names a content that others were told of: the guard must not speak of one that nobody has heard
        cart.version = max(cart.version, other.version)
    return changed
