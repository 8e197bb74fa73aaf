"""Settings of the senders: what they share, and one class for each channel."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from cartstream.runtime.settings import SecretSettings


class SenderSettings(SecretSettings):
    """What every sender needs. Seconds are real seconds unless the description says otherwise."""

    instance_id: str = Field("", description="static membership: a restart within the session timeout moves no partition")
    session_timeout_ms: int = Field(45_000, ge=1_000, description="Kafka gives a silent member's partitions away after this")
    transaction_timeout_ms: int = Field(
        15_000, ge=1_000, description="a crashed sender's open transaction blocks its successor for so long"
    )
    send_pending: int = Field(2_000, ge=1, description="most unfinished commands of a process; beyond it no partition is polled")
    send_poll: int = Field(500, ge=1, le=10_000, description="most commands of one poll")
    send_flush_ms: int = Field(40, ge=1, le=5_000, description="finished commands wait at most so long for their transaction")
    send_drain_s: float = Field(10, gt=0, description="how long calls under way may go on when a partition or the process ends")
    send_timeout_s: float = Field(15, gt=0, description="longest wait for a provider's answer; then the call is ambiguous")
    send_settle_s: float = Field(2, ge=0, description="an intent of another process is waited for send_timeout_s and this long")
    send_backoff_s: float = Field(1, gt=0, description="first backoff in the clock's seconds; doubles, with full jitter")
    send_backoff_max_s: float = Field(300, gt=0, description="longest backoff, in the clock's seconds")
    send_halt_retry_s: float = Field(60, gt=0, description="after a configuration error one call in so many seconds tries again")
    ledger_hours: int = Field(72, ge=1, description="how long the ledger outlives a command's expiry; longer than any replay of the topic")
    dead_days: int = Field(90, ge=1, description="how long a dead or opted-out address is remembered")
    shop_name: str = Field("Our shop", description="the name that messages carry")
    shop_url: str = Field("https://shop.example.test", description="the address that messages link to, without a slash at the end")
    cart_path: str = Field("/cart", description="the cart's page, behind shop_url")
    product_path: str = Field("/products/{id}", description="a product's page, behind shop_url; {id} is the product")
    templates: str = Field("", description="a folder whose templates go before the built-in ones: email/, sms/, push/")
    unsubscribe_url: str = Field(
        "", description="https address that takes one-click POSTs; the token is added; empty leaves the header out"
    )


class EmailSettings(SenderSettings):
    """The e-mail sender."""

    smtp_host: str = Field("127.0.0.1", description="the mail relay")
    smtp_port: int = Field(25, ge=1, le=65_535, description="its port: 25, 465 (tls) or 587 (starttls)")
    smtp_tls: Literal["none", "starttls", "tls"] = Field("none", description="none only on a trusted network")
    smtp_user: str = Field("", description="user name; empty for no login")
    smtp_password: SecretStr = Field(SecretStr(""), description="its password")
    smtp_connections: int = Field(32, ge=1, le=1_000, description="connections of a process, each one message at a time")
    smtp_messages: int = Field(500, ge=1, description="messages of a connection before it is renewed")
    email_from: str = Field("shop@example.test", description="the sender's address")
    email_reply_to: str = Field("", description="address for answers; empty for none")
    email_idempotency_header: str = Field("", description="header in which the relay takes an idempotency key: then at least once")
    email_rate: float = Field(0, ge=0, description="e-mails a second over all processes; 0 is no limit")


class SmsSettings(SenderSettings):
    """The SMS sender."""

    twilio_url: str = Field("https://api.twilio.com", description="base address of a Twilio-compatible API")
    twilio_sid: str = Field("", description="account SID")
    twilio_token: SecretStr = Field(SecretStr(""), description="auth token")
    twilio_service: str = Field("", description="MessagingServiceSid; goes before sms_from")
    sms_from: str = Field("", description="sender number or id")
    sms_status_callback: str = Field("", description="address for status callbacks; the command's id is added as a query")
    sms_in_flight: int = Field(128, ge=1, le=10_000, description="calls under way of a process")
    sms_rate: float = Field(0, ge=0, description="segments a second over all processes; 0 is no limit")


class PushSettings(SenderSettings):
    """The Web Push sender."""

    vapid_private_key: SecretStr = Field(SecretStr(""), description="base64url of the 32-byte P-256 private key; see `cartstream keys`")
    vapid_subject: str = Field("mailto:push@example.test", description="who a push service may write to: mailto: or https:")
    push_allow_http: bool = Field(False, description="take endpoints that are not https; for the fake providers")
    push_allow_private: bool = Field(False, description="take endpoints on private addresses; for the fake providers")
    push_in_flight: int = Field(128, ge=1, le=10_000, description="calls under way of a process")
    push_rate: float = Field(0, ge=0, description="messages a second over all processes; 0 is no limit")
