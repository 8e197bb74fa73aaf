"""A schema registry of Confluent's kind (Karapace speaks the same), asked through confluent-kafka's own client.

A schema never changes under its id, so it is asked for once. A registry that is away, refuses us or talks nonsense is waited for; only its
plain word that there is no such schema refuses a record, and that word too is believed for a while only.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import fastavro
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from cartstream.errors import ConfigError, Refused, Unavailable
from cartstream.events.formats.schemas import JSON, UNKNOWN

LIMIT_S = 10.0
UNKNOWN_FOR_S = 30.0
_UNKNOWN_KEPT = 1_000
_NOT_FOUND = range(40_400, 40_500)
"""The registry's own codes. A bare 404 comes from somebody else at that address."""


class Registry:
    """A `formats.schemas.Schemas`."""

    def __init__(self, client: Any, now: Callable[[], float] = time.monotonic) -> None:
        """`client` is a SchemaRegistryClient."""
        self._client = client
        self._now = now
        self._schemas: dict[int | str, Any] = {}
        self._unknown: dict[int | str, float] = {}

    def schema(self, id: int | str) -> Any:
        found = self._schemas.get(id)
        if found is None:
            found = self._schemas[id] = self._ask(id)
        return found

    def _ask(self, id: int | str) -> Any:
        if self._now() < self._unknown.get(id, 0.0):
            raise Refused(UNKNOWN, f"the registry has no schema {id}")
        try:
            said = self._client.get_schema_by_guid(id) if isinstance(id, str) else self._client.get_schema(id)
            if not isinstance(said.schema_str, str):
                self._client.clear_caches()  # it would keep the odd answer for good
                raise Unavailable(f"schema registry (schema {id}): an answer without a schema")
            if said.schema_type == JSON:
                return JSON
            if said.schema_type not in (None, "AVRO"):
                raise Refused(UNKNOWN, f"schema {id} is of type {said.schema_type}: only AVRO and JSON are read")
            return self._parsed(said, {})
        except (Refused, Unavailable):
            raise
        except SchemaRegistryError as error:
            if error.http_status_code == 404 and error.error_code in _NOT_FOUND:
                raise self._believed(id) from error
            raise Unavailable(f"schema registry (schema {id}): HTTP {error.http_status_code}, code {error.error_code}") from error
        except (fastavro.schema.SchemaParseException, fastavro.schema.UnknownType) as error:
            raise Refused(UNKNOWN, f"schema {id} is no Avro schema: {error}") from error
        except Exception as error:  # whatever a connection may die of: nothing is lost by asking again
            raise Unavailable(f"schema registry (schema {id}): {type(error).__name__}") from error

    def _parsed(self, said: Any, named: dict[str, Any]) -> Any:
        """With the schemas that it refers to."""
        for reference in said.references or ():
            if reference.name not in named:
                self._parsed(self._client.get_version(reference.subject, reference.version).schema, named)
        return fastavro.parse_schema(json.loads(said.schema_str), named_schemas=named)

    def _believed(self, id: int | str) -> Refused:
        if len(self._unknown) >= _UNKNOWN_KEPT:
            self._unknown.clear()
        self._unknown[id] = self._now() + UNKNOWN_FOR_S
        return Refused(UNKNOWN, f"the registry has no schema {id}")


def open_registry(url: str, auth: str, ca_file: str) -> Registry:
    """`auth` is `user:password` or empty. Asks nothing yet. Raises ConfigError."""
    settings: dict[str, Any] = {"url": url, "timeout": LIMIT_S, "max.retries": 0}
    if auth:
        settings["basic.auth.user.info"] = auth
    if ca_file:
        settings["ssl.ca.location"] = ca_file
    try:
        return Registry(SchemaRegistryClient.new_client(settings))
    except (ValueError, TypeError, OSError) as error:
        raise ConfigError(f"CARTSTREAM_REGISTRY_URL, CARTSTREAM_REGISTRY_AUTH, CARTSTREAM_REGISTRY_CA: {error}") from error
