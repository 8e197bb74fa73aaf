"""`cartstream run products`."""

from __future__ import annotations

from cartstream.products.settings import ProductsSettings
from cartstream.products.stage import ProductsStage
from cartstream.runtime.service import run_stage
from cartstream.runtime.settings import load


def run() -> int:
    settings = load(ProductsSettings)
    return run_stage("products", settings, lambda _: ProductsStage(settings.partitions))
