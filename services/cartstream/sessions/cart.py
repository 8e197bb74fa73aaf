"""What events do to a cart. Adds are deltas, cart views are snapshots; removals and orders leave marks that older adds cannot cross.

Each function changes the state and tells whether the cart changed.
"""

from __future__ import annotations

from math import isfinite

from cartstream.events.clicks import MAX_ID, Action, Product, Properties
from cartstream.events.records import Order
from cartstream.events.times import EventTime
from cartstream.sessions.state import LINES_LIMIT, MARKS_LIMIT, CustomerState, Line

QUANTITY_LIMIT = 9_999
BOUGHT_LIMIT = 1_000
NAME_LIMIT = 200
CURRENCY_LIMIT = 16
_NO_LINE = Line(0, None, None, 0)


def apply(state: CustomerState, action: Action, properties: Properties, at: EventTime) -> bool:
    if action is Action.ADD:
        changed = _add(state, properties, at)
    elif action is Action.REMOVE:
        changed = _remove(state, properties, at)
    elif action is Action.CART:
        changed = _overwrite(state, properties, at)
    elif action is Action.ORDER:
        changed = _order(state, properties, at)
    else:
        return False
    if changed:
        state.version = max(at, state.version + 1)
        state.currency = _short(properties.currency, CURRENCY_LIMIT) or state.currency
    return changed


def product_id_of(product: Product) -> str | None:
    """None too for what is longer than an id may be: a few of those would make a cart that no record can carry."""
    product_id = product.product_id or product.sku
    return product_id if product_id and len(product_id) <= MAX_ID else None


def order_of(properties: Properties) -> Order:
    said = (properties.total, properties.revenue, properties.value)
    value = next((amount for amount in said if amount is not None and isfinite(amount)), None)
    return Order(
        _short(properties.order_id, MAX_ID),
        value,
        _short(properties.currency, CURRENCY_LIMIT),
        sorted({p for p in map(product_id_of, _products(properties)) if p})[:BOUGHT_LIMIT],
    )


def _products(properties: Properties) -> list[Product]:
    return properties.products or ([properties] if product_id_of(properties) else [])


def _add(state: CustomerState, properties: Properties, at: EventTime) -> bool:
    changed = False
    for product in _products(properties):
        product_id = product_id_of(product)
        quantity = _quantity(product)
        if not product_id or quantity == 0 or at <= state.cleared_at or at <= state.removed.get(product_id, -1):
            continue
        line = state.lines.get(product_id)
        if line is None:
            if len(state.lines) >= LINES_LIMIT:
                continue
            state.lines[product_id] = Line(quantity, _price(product), _short(product.name, NAME_LIMIT), at)
        else:
            line.quantity = min(line.quantity + quantity, QUANTITY_LIMIT)
            if at >= line.at:
                line.price = price if (price := _price(product)) is not None else line.price
                line.name = _short(product.name, NAME_LIMIT) or line.name
                line.at = at
        changed = True
    return changed


def _remove(state: CustomerState, properties: Properties, at: EventTime) -> bool:
    changed = False
    for product in _products(properties):
        product_id = product_id_of(product)
        line = state.lines.get(product_id) if product_id else None
        if product_id is None or at <= state.cleared_at:
            continue
        if line is not None and product.quantity is not None and line.quantity > _quantity(product):
            line.quantity -= _quantity(product)
            line.at = max(line.at, at)
            changed = True
        elif line is None or line.at <= at:
            changed |= _drop(state, product_id, at)
    return changed


def _overwrite(state: CustomerState, properties: Properties, at: EventTime) -> bool:
    """A snapshot counts only when it is newer than all that is known. One that names no products says nothing.

    What it leaves out of a product that was in the cart, its price or name, stays as it was.
    """
    if properties.products is None or at <= max(state.cleared_at, state.version):
        return False
    before, state.lines = state.lines, {}
    for product in properties.products[:LINES_LIMIT]:
        product_id = product_id_of(product)
        if product_id and (quantity := _quantity(product)):
            known = before.get(product_id, _NO_LINE)
            price = _price(product)
            name = _short(product.name, NAME_LIMIT) or known.name
            state.lines[product_id] = Line(quantity, known.price if price is None else price, name, at)
    state.cleared_at = at
    return _content(before) != _content(state.lines)


def _content(lines: dict[str, Line]) -> dict[str, tuple[int, float | None]]:
    return {product_id: (line.quantity, line.price) for product_id, line in lines.items()}


def _order(state: CustomerState, properties: Properties, at: EventTime) -> bool:
    """What was bought leaves the cart: the products that the order names, or everything when it names none."""
    state.order_mark = max(state.order_mark, at)
    bought = [product_id for product in _products(properties) if (product_id := product_id_of(product))]
    if bought:
        dropped = [_drop(state, product_id, at) for product_id in bought if _older(state, product_id, at)]
        return any(dropped)
    state.cleared_at = max(state.cleared_at, at)
    gone = [product_id for product_id, line in state.lines.items() if line.at <= at]
    for product_id in gone:
        del state.lines[product_id]
    return bool(gone)


def _older(state: CustomerState, product_id: str, at: EventTime) -> bool:
    line = state.lines.get(product_id)
    return line is None or line.at <= at


def _drop(state: CustomerState, product_id: str, at: EventTime) -> bool:
    state.removed[product_id] = max(at, state.removed.get(product_id, at))
    if len(state.removed) > MARKS_LIMIT:
        del state.removed[min(state.removed, key=lambda known: (state.removed[known], known))]
    return state.lines.pop(product_id, None) is not None


def _quantity(product: Product) -> int:
    return 1 if product.quantity is None else max(0, min(product.quantity, QUANTITY_LIMIT))


def _short(text: str | None, limit: int) -> str | None:
    return text[:limit] if text else text


def _price(product: Product) -> float | None:
    """Trackers say NaN, too: as text it passes for a number."""
    return product.price if product.price is not None and isfinite(product.price) else None


def join(state: CustomerState, other: CustomerState) -> bool:
    """Bring in the cart of a customer who is the same person: the larger quantity per product, no line across a later mark."""
    before = {product_id: line.quantity for product_id, line in state.lines.items()}
    for product_id, at in other.removed.items():
        state.removed[product_id] = max(at, state.removed.get(product_id, at))
    state.cleared_at = max(state.cleared_at, other.cleared_at)
    state.order_mark = max(state.order_mark, other.order_mark)
    for product_id, line in other.lines.items():
        mine = state.lines.get(product_id)
        if mine is None or line.quantity > mine.quantity:
            state.lines[product_id] = Line(line.quantity, line.price, line.name, max(line.at, mine.at if mine else line.at))
    for product_id in [p for p, line in state.lines.items() if line.at <= max(state.cleared_at, state.removed.get(p, -1))]:
        del state.lines[product_id]
    state.currency = state.currency or other.currency
    changed = before != {product_id: line.quantity for product_id, line in state.lines.items()}
    if changed:  # a version names a content that others were told of: the guard must not speak of one that nobody has heard
        state.version = max(state.version, other.version)
    return changed
