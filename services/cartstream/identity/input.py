"""What the clickstream is written in, by the settings."""

from __future__ import annotations

from cartstream.events.formats.native import Translate
from cartstream.events.formats.opening import NATIVE, SchemaSource, open_format
from cartstream.identity.settings import IdentitySettings


def schema_source(settings: IdentitySettings) -> SchemaSource:
    url, auth = settings.registry_url.get_secret_value(), settings.registry_auth.get_secret_value()
    return SchemaSource(settings.input_schemas, url, auth, settings.registry_ca)


def input_format(settings: IdentitySettings) -> Translate | None:
    """None for the native one, which needs no translation. Raises ConfigError."""
    return None if settings.input_format == NATIVE else open_format(settings.input_format, schema_source(settings))
