"""Settings of the products service."""

from __future__ import annotations

from cartstream.runtime.settings import StageSettings


class ProductsSettings(StageSettings):
    """Nothing of its own: `partitions` is how many partitions of `activity` are told."""
