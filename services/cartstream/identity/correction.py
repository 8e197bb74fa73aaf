"""What an operator says of customers, as records of the clickstream: so a replay of the clickstream comes to the same.

A correction is JSON like an event, of a type that no tracker sends, signed with the hash key. One is written to every partition, all but
one of them as a `copy`: so each partition meets it in the order of its own events, and one of them tells of it.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from cartstream.errors import Refused
from cartstream.events.clicks import EARLIEST, LATEST, MAX_ID
from cartstream.events.records import Customer, Identifier
from cartstream.events.times import EventTime, from_datetime
from cartstream.identity.nodes import DEVICE, identifier_name, identifier_named
from cartstream.runtime.vault import AddressHash

MOST_NAMES = 12_000
_Name = Annotated[str, Meta(pattern=r"^[a-z_]+:[^\x1f]", max_length=MAX_ID + 32)]
_Names = Annotated[list[_Name], Meta(min_length=1, max_length=MOST_NAMES)]
_Devices = Annotated[list[Annotated[str, Meta(min_length=1, max_length=MAX_ID)]], Meta(max_length=MOST_NAMES)]


class Corrected(msgspec.Struct):
    """What came of it: `identifiers` and `devices` count what was erased, or moved. `again`: it had been done before.

    Of an erasure `customers` are all ids that this customer ever had. Of an unlink they are those who were split; `places` says whose
    each identifier is now, by `identifier_name`, `records` are the customer records that it changed, `into` is the moved side's customer.
    """

    customer_id: str
    at: EventTime
    customers: list[str]
    identifiers: int
    devices: int
    again: bool = False
    places: dict[str, str] = {}
    records: list[Customer] = []
    into: str | None = None


class _Command(msgspec.Struct, rename="camel", omit_defaults=True):
    message_id: Annotated[str, Meta(min_length=1, max_length=MAX_ID)]
    timestamp: Annotated[datetime, Meta(tz=True)]

    @property
    def at(self) -> EventTime:
        return from_datetime(self.timestamp)


class Erase(_Command, tag_field="type", tag="cartstream.erase"):
    """Forget whoever has `identifier`: all that was told of them up to `timestamp`. `devices` are theirs, as far as was known."""

    identifier: _Name
    devices: _Devices = []
    copy: bool = False
    signature: str = ""

    @property
    def subject(self) -> Identifier:
        return identifier_named(self.identifier)


class Unlink(_Command, tag_field="type", tag="cartstream.unlink"):
    """What is `moved` is not the customer's who has what is `kept`, whatever was told up to `timestamp`."""

    moved: _Names
    kept: _Names
    copy: bool = False
    signature: str = ""

    @property
    def subject(self) -> Identifier:
        return identifier_named(self.moved[0])

    @property
    def devices(self) -> list[str]:
        return [one.value for one in map(identifier_named, (*self.moved, *self.kept)) if one.type == DEVICE]


Correction = Erase | Unlink
_decode: Callable[[bytes], Correction] = msgspec.json.Decoder(Correction).decode
_EPOCH = datetime.fromtimestamp(0, UTC)
_TYPE = re.compile(rb'"type"\s*:\s*"cartstream\.')


def is_correction(raw: bytes) -> bool:
    """Whether it means to be one."""
    return b'"cartstream.' in raw and _TYPE.search(raw) is not None


def signed(correction: Correction, hash_address: AddressHash) -> Correction:
    """As identity takes it: what reaches the clickstream from the shop's visitors must not be able to forget anybody."""
    return replace(correction, signature=_signature(correction, hash_address))


def is_signed(correction: Correction, hash_address: AddressHash) -> bool:
    return hmac.compare_digest(correction.signature.encode(), _signature(correction, hash_address).encode())


def _signature(correction: Correction, hash_address: AddressHash) -> str:
    return hash_address("correction", written(replace(correction, copy=False, signature="")).decode())


def read_correction(raw: bytes) -> Correction:
    """Raises Refused."""
    try:
        correction = _decode(raw)
    except msgspec.DecodeError as error:
        raise Refused("wrong_schema", f"no correction of identity: {error}") from error
    if not EARLIEST <= correction.at <= LATEST:
        raise Refused("wrong_schema", "the time of a correction is absurd")
    return correction


def written(correction: Correction) -> bytes:
    return msgspec.json.encode(correction)


def copies(raw: bytes, count: int) -> list[bytes]:
    """Of a written correction, one for each partition; of one that cannot be read, none."""
    try:
        correction = read_correction(raw)
    except Refused:
        return []
    return [raw, *[written(replace(correction, copy=True))] * (count - 1)]


def erasure(message_id: str, at: EventTime, identifier: Identifier, devices: list[str]) -> Erase:
    return Erase(message_id, _EPOCH + timedelta(milliseconds=at), identifier_name(identifier), devices)


def unlinking(message_id: str, at: EventTime, moved: list[str], kept: list[str]) -> Unlink:
    """By `identifier_name`; the first of `moved` is what it is about."""
    return Unlink(message_id, _EPOCH + timedelta(milliseconds=at), moved, kept)
