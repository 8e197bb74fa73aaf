"""Settings of the detection service."""

from __future__ import annotations

from functools import cached_property

from pydantic import Field, ValidationInfo, field_validator

from cartstream.detection.intent.live import LIVE, unknown_features
from cartstream.detection.intent.model import IntentModel, load_model
from cartstream.errors import ConfigError
from cartstream.events.times import DAY, SECOND
from cartstream.runtime.settings import StageSettings


class DetectionSettings(StageSettings):
    """When silence means leaving, and how sure an exit must be."""

    session_gap_s: int = Field(1_800, ge=1, description="what the sessions service calls a session; no delay below may be shorter (30 min)")
    session_limit_s: int = Field(
        86_400, ge=60, description="the longest session of the sessions service; one open for longer lost its end (24 h)"
    )
    cart_abandoned_after_s: int = Field(
        1_800, ge=1, description="silence on all devices after which a cart counts as abandoned (the session gap)"
    )
    checkout_abandoned_after_s: int = Field(1_800, ge=1, description="the same with a checkout started (the session gap)")
    browse_abandoned_after_s: int = Field(1_800, ge=1, description="the same with nothing in the cart but products looked at")
    min_cart_value: float = Field(
        0.0, ge=0, description="a cart worth less, in its own currency, is not signalled; 0 signals all (Oracle's default)"
    )
    min_cart_values: dict[str, float] = Field(
        {}, description='the same where a currency has its own, as JSON: {"JPY": 5000, "EUR": 30}; other currencies take min_cart_value'
    )
    no_abandonment_after_order_s: int = Field(
        0, ge=0, description="silence after an order in which nothing counts as abandoned: who tracks a parcel looks like browsing; 0: none"
    )
    abandonment_cooldown_s: int = Field(
        0, ge=0, description="least time between two abandonments of one kind; 0: none, since journeys have reentry_after of their own"
    )
    watch_products: bool = Field(
        False,
        description="ask the products service's changes: price drop, back in stock, stock guard; one small record a product and shopper",
    )
    watch_views_days: int = Field(
        7, ge=0, le=15, description="how long a product that was looked at is wanted; 0: only what is in the cart"
    )
    price_drop_percent: float = Field(5.0, ge=0, lt=100, description="least drop, from the price that the shopper knows, that is a signal")
    product_cooldown_s: int = Field(
        86_400, ge=0, description="least time between two price drops, or two products back in stock, of one shopper: a sale is one message"
    )
    exit_armed_after_s: float = Field(5.0, ge=0, description="dwell before an exit can count; use-exit-intent waits 5 s, ouibounce 1 s")
    exit_threshold: float = Field(
        0.5, ge=0, le=1, description="least score that is a signal: a pointer leaving with a cart passes, without one it does not"
    )
    exit_cart_value: float = Field(
        100.0, gt=0, description="cart value, in its own currency, that counts in full; a good order of the shop"
    )
    detection_intent_model: str = Field(
        "",
        description="file of a trained model that scores exits, or `shipped` for the package's; its threshold counts; empty: fixed weights",
    )
    detection_keep_days: int = Field(30, ge=1, description="event time after which a silent customer's detection state goes")

    @field_validator("cart_abandoned_after_s", "checkout_abandoned_after_s", "browse_abandoned_after_s")
    @classmethod
    def _not_below_the_session_gap(cls, value: int, info: ValidationInfo) -> int:
        gap = info.data.get("session_gap_s", 0)
        if value < gap:
            raise ValueError(f"{value} s is shorter than a session's gap of {gap} s, so the shopper may still be there; give {gap} or more")
        return value

    @field_validator("min_cart_values")
    @classmethod
    def _by_currency(cls, value: dict[str, float]) -> dict[str, float]:
        for currency, least in value.items():
            if not (len(currency) == 3 and currency.isascii() and currency.isupper()) or not 0 <= least < float("inf"):
                raise ValueError(f"{currency!r}: {least!r} is no minimum; give three capital letters and 0 or more")
        return value

    @field_validator("detection_intent_model")
    @classmethod
    def _scores_live_sessions(cls, value: str) -> str:
        if value:
            try:
                unknown = unknown_features(load_model(value))
            except ConfigError as error:
                raise ValueError(str(error)) from error
            if unknown:
                raise ValueError(f"the model wants {', '.join(unknown)}, which no live session tells; there are {', '.join(LIVE)}")
        return value

    @cached_property
    def intent(self) -> IntentModel | None:
        """The model in force, read once. None: the fixed weights."""
        return load_model(self.detection_intent_model) if self.detection_intent_model else None

    def least_value(self, currency: str | None) -> float:
        """What a cart in this currency must be worth to be signalled."""
        return self.min_cart_values.get((currency or "").upper(), self.min_cart_value)

    @property
    def keep_ms(self) -> int:
        return self.detection_keep_days * DAY

    @property
    def exit_armed_after_ms(self) -> float:
        return self.exit_armed_after_s * SECOND
