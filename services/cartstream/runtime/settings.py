"""Settings: read once, from the environment (`CARTSTREAM_…`), frozen. Secrets may come from files (`…_FILE`)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from cartstream.errors import ConfigError

S = TypeVar("S", bound="Settings")


class Settings(BaseSettings):
    """What every service needs. A service's own settings derive from this; every field says unit, default and reason."""

    model_config = SettingsConfigDict(env_prefix="CARTSTREAM_", frozen=True, extra="ignore")

    brokers: str = Field("127.0.0.1:9092", description="Kafka bootstrap servers, comma separated")
    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        description="Redis (6.2 on) or Valkey; a cluster is redis+cluster://host:port,host:port, some of its servers",
    )
    prefix: str = Field("", description="put before every topic, group and Redis key: one cluster, several pipelines")
    partitions: int = Field(8, ge=1, le=1024, description="partitions of the topics that cartstream creates; fixed for their life")
    replication: int = Field(1, ge=1, description="replication factor of the topics that cartstream creates; 3 in production")
    clock: str = Field("system", description="system, or scaled:<origin ms>:<real start s>:<speed> for demos")
    metrics_host: str = Field("127.0.0.1", description="address of /metrics, /livez and /readyz; 0.0.0.0 in a container")
    metrics_port: int = Field(0, ge=0, le=65535, description="port of the same; 0 takes a free one and logs it")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="debug, info, warning or error")
    log_format: Literal["json", "console"] = Field("json", description="json, or console for people")


class StageSettings(Settings):
    """What the partition loop of a stateful service needs."""

    batch_size: int = Field(5_000, ge=1, le=100_000, description="most records of one poll; large under load, small when idle")
    poll_ms: int = Field(25, ge=1, le=1_000, description="longest wait for a first record; it bounds how late idle work is done")
    announce_ms: int = Field(100, ge=1, description="real ms; how often a watermark is passed on")
    idle_ms: int = Field(1_000, ge=1, description="real ms; how often a clickstream partition that follows the clock tells the time")
    cache_entries: int = Field(200_000, ge=0, description="states kept in the process, over all partitions")
    state_ttl_days: int = Field(90, ge=1, description="state untouched for so long goes, by its Redis expiry")
    session_timeout_ms: int = Field(45_000, ge=1_000, description="Kafka gives a silent member's partitions away after this")
    instance_id: str = Field("", description="static membership: a restart within the session timeout moves no partition")
    transaction_timeout_ms: int = Field(60_000, ge=1_000, description="outer limit of every transactional call")


class SecretSettings(Settings):
    """The keys that keep addresses out of topics (hashing) and safe in Redis (sealing)."""

    hash_key: SecretStr = Field(SecretStr(""), description="secret of the keyed hashes of e-mail, phone and push; 32 characters or more")
    vault_keys: SecretStr = Field(SecretStr(""), description="id=base64 of 32 bytes, comma separated; the first seals, all open")


def load(kind: type[S], **overrides: Any) -> S:
    """Read `kind` from the environment. Raises ConfigError naming the variable."""
    try:
        return kind(**_from_files(kind), **overrides)
    except ValidationError as error:
        first = error.errors()[0]
        variable = "CARTSTREAM_" + "_".join(str(part) for part in first["loc"]).upper()
        raise ConfigError(f"{variable}: {first['msg']}; see `cartstream settings`") from error
    except SettingsError as error:  # says which field is not JSON, but not as a variable
        named = next((name for name in kind.model_fields if f'"{name}"' in str(error)), "…")
        raise ConfigError(f"CARTSTREAM_{named.upper()}: not valid JSON; see `cartstream settings`") from error


def _from_files(kind: type[Settings]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in kind.model_fields:
        path = os.environ.get(f"CARTSTREAM_{name.upper()}_FILE")
        if path:
            try:
                values[name] = Path(path).read_text().strip()
            except OSError as error:
                raise ConfigError(f"CARTSTREAM_{name.upper()}_FILE={path}: {error.strerror}; name a readable file") from error
    return values
