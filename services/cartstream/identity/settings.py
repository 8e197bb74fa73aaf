"""Settings of the identity service."""

from __future__ import annotations

from pydantic import Field, SecretStr

from cartstream.runtime.settings import SecretSettings, StageSettings, load

# Only used where the environment names no key: what is replayed keeps its results to itself, and they must not change from run to run.
_REPLAY_HASH_KEY = "replay-without-a-key-of-its-own--"


class IdentitySettings(StageSettings, SecretSettings):
    lateness_ms: int = Field(
        5_000,
        ge=0,
        description="how long to wait for late events before time counts as passed: it delays every reminder",
    )
    idle_grace_ms: int = Field(2_000, ge=0, description="real ms; a partition quiet and caught up for so long follows the clock")
    future_limit_s: int = Field(
        3_600,
        ge=0,
        description="an event further ahead of the clock is refused: one wrong clock must not end everybody's session",
    )
    past_limit_days: int = Field(90, ge=1, description="an event older than this is refused: its customer's state may be gone")
    directory_ttl_days: int = Field(400, ge=1, description="a known customer nobody has heard of for so long is forgotten")
    identity_rules: str = Field("", description="YAML file of the identifiers, limits and blocked values; empty takes that of the package")
    consent_categories: dict[str, list[str]] = Field(
        default_factory=lambda: {"Advertising": ["email", "sms", "push"]},
        description="Segment consent category → channels, as JSON",
    )
    input_format: str = Field(
        "segment",
        description="what the clickstream is written in: segment, ga4, snowplow, or an envelope with one of them: cloudevents, avro, "
        "cloudevents+avro, avro+ga4, … (see docs/inputs.md)",
    )
    input_schemas: str = Field(
        "", description="avro without a registry: a folder with manifest.json and its schemas; empty: cartstream's own"
    )
    registry_url: SecretStr = Field(SecretStr(""), description="avro with a schema registry: its address, or several, comma separated")
    registry_auth: SecretStr = Field(SecretStr(""), description="user:password of the registry, if it wants any")
    registry_ca: str = Field("", description="file of the certificates that the registry's is signed by; empty: the usual ones")


def replay_settings() -> IdentitySettings:
    """For recorded events: the environment's, with a hash key in any case. Raises ConfigError."""
    given = load(IdentitySettings)
    return given if given.hash_key.get_secret_value() else load(IdentitySettings, hash_key=_REPLAY_HASH_KEY)
