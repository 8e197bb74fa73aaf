"""What may be wrong in an event that is kept all the same: one list for live counting and for `cartstream events check`.

Live, each is counted in `cartstream_outcomes_total{kind="repaired", detail=<reason>}`. A repair never guesses: it reads what is plainly
meant, or leaves out what is not.
"""

from __future__ import annotations

from cartstream.events.properties import PROPERTY_REPAIRS

ENVELOPE_REPAIRS: dict[str, str] = {
    "byte_order_mark": "the text began with a byte order mark: left out",
    "type_missing": "no `type`: told from the fields that only one kind of event has",
    "type_spelling": "`type` in other letters than the specification's",
    "id_not_text": "an id was a number: read as text",
    "id_unusable": "an id that is neither text nor number: left out",
    "id_from_key": "no device id: the record's key, by which the topic is spread",
    "time_unit": "seconds, microseconds or nanoseconds where milliseconds belong: told apart by size",
    "time_spelling": "a time not as ISO 8601 has it, that can be read: as digits in quotes, or with a zone's name",
    "time_unreadable": "a time that cannot be read: the next best time of the event",
    "time_from_record": "no time in the event: when Kafka took it",
    "context_unusable": "something attached to the event is not as its schema says: left out",
    "item_unusable": "an item that is no object, or has no id: left out",
}
REPAIRS = ENVELOPE_REPAIRS | PROPERTY_REPAIRS
"""In the order in which they are shown."""
