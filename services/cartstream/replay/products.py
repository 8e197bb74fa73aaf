"""The shop's products beside a recorded clickstream: a file of JSON lines, as they would be written to the topic `products`."""

from __future__ import annotations

from pathlib import Path

from cartstream.errors import ConfigError, Refused
from cartstream.events import topics
from cartstream.events.adapters.recorded import Recorded
from cartstream.products.stage import ProductsStage
from cartstream.runtime.stage import Record


def read_products(path: Path) -> list[Recorded]:
    """In order of time; gaps between lines are passed over. Raises ConfigError naming file and line."""
    stage = ProductsStage(1)
    found = []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name a readable file of products") from error
    for number, raw in enumerate(lines, 1):
        if not raw.strip():
            continue
        try:
            product = stage.decode(Record(topics.PRODUCTS, 0, number, None, raw.strip()))
        except Refused as refused:
            raise ConfigError(f"{path}:{number}: {refused.reason}: {refused.detail}") from refused
        found.append(Recorded(product.at, product.product_id, raw.strip()))
    return sorted(found, key=lambda product: product.at)
