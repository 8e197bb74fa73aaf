"""The formats by name. Envelopes stand before what is in them: `cloudevents+avro`, `avro+ga4`; alone they hold native events."""

from __future__ import annotations

from pathlib import Path

from cartstream.errors import ConfigError
from cartstream.events.avro import schema_folder
from cartstream.events.formats import ga4, segment, snowplow
from cartstream.events.formats.avro import AvroEvents
from cartstream.events.formats.cloudevents import CloudEvents
from cartstream.events.formats.native import Translate
from cartstream.events.formats.schemas import Manifest, Schemas

NATIVE = "segment"
EVENTS: dict[str, Translate] = {NATIVE: segment.translate, "ga4": ga4.translate, "snowplow": snowplow.translate}
ENVELOPES = ("cloudevents", "avro")
FORMS = f"{', '.join(EVENTS)}; in an envelope: cloudevents, avro, cloudevents+avro, and each with +ga4 or +snowplow"


class SchemaSource:
    """Where schemas come from, should a format need any: a registry when an address is given, else a folder's manifest."""

    def __init__(self, folder: str = "", url: str = "", auth: str = "", ca_file: str = "") -> None:
        self._folder, self._url, self._auth, self._ca_file = folder, url, auth, ca_file

    def open(self) -> Schemas:
        """Raises ConfigError."""
        if not self._url:
            return Manifest(Path(self._folder) if self._folder else schema_folder() / "clickstream")
        try:
            from cartstream.events.formats.registry import open_registry  # what the client needs is an extra
        except ImportError as error:
            raise ConfigError(
                f"CARTSTREAM_REGISTRY_URL: the registry's client lacks {error.name}; install it with cartstream[registry]"
            ) from error
        return open_registry(self._url, self._auth, self._ca_file)


def open_format(name: str, schemas: SchemaSource) -> Translate:
    """Raises ConfigError."""
    *envelopes, last = name.split("+")
    if last in ENVELOPES:
        envelopes, last = [*envelopes, last], NATIVE
    if last not in EVENTS or [known for known in ENVELOPES if known in envelopes] != envelopes:
        raise ConfigError(f"format {name!r}: say one of {FORMS}")
    translate = EVENTS[last]
    if "avro" in envelopes:
        translate = AvroEvents(translate, schemas.open(), last == NATIVE)
    return CloudEvents(translate) if "cloudevents" in envelopes else translate
