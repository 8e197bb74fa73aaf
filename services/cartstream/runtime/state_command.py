"""`cartstream state`: look at what Redis holds of a service's partitions, and mend what halted one."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import click
import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition
from rich.console import Console
from rich.table import Table

from cartstream.errors import ConfigError, Unavailable
from cartstream.events import topics
from cartstream.events.times import iso
from cartstream.runtime.kafka import consumer_config
from cartstream.runtime.redis_store import connect
from cartstream.runtime.settings import StageSettings, load
from cartstream.runtime.store import Checkpoint

SOURCES = {
    "identity": topics.CLICKSTREAM,
    "sessions": topics.IDENTIFIED,
    "detection": topics.ACTIVITY,
    "journeys": topics.SIGNALS,
}
STAGES = click.Choice(tuple(SOURCES))
_ASK_S = 20.0
_decode = msgspec.msgpack.Decoder(Checkpoint).decode


class Checkpoints:
    """The checkpoints of one service in Redis."""

    def __init__(self, client: Any, settings: StageSettings, service: str) -> None:
        self._redis = client
        self._settings = settings
        self._service = service

    def read(self, partition: int) -> Checkpoint | None:
        raw = self._redis.get(self._key(partition))
        return _decode(raw) if raw else None

    def forget_owner(self, partition: int) -> bool:
        """Let any generation own the partition again. False when nothing is stored."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.watch(self._key(partition))
            raw = pipe.get(self._key(partition))
            if not raw:
                return False
            pipe.multi()
            pipe.set(self._key(partition), _encode(_decode(raw), generation=-1), keepttl=True)
            pipe.execute()
            return True

    def begin_at(self, partition: int, offset: int) -> None:
        """Start a partition that Redis knows nothing of at this offset. Raises ConfigError if Redis does know it."""
        ttl_s = self._settings.state_ttl_days * 86_400
        if not self._redis.set(self._key(partition), _encode(Checkpoint(next_offset=offset)), nx=True, ex=ttl_s):
            raise ConfigError(f"{self._service} partition {partition} has state in Redis: nothing to rebuild; see `cartstream state show`")

    def skip_to(self, partition: int, offset: int, committed: int) -> int:
        """Go on at this offset with the state as it is; gives how many records are given up. Raises ConfigError.

        `committed` is Kafka's offset: where it differs, something of the partition is still to be published or done again.
        """
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.watch(self._key(partition))
            raw = pipe.get(self._key(partition))
            found = _decode(raw) if raw else None
            if found is None or found.next_offset != committed or offset <= committed:
                stored = found.next_offset if found else "nothing"
                raise ConfigError(
                    f"{self._service} partition {partition}: Redis has {stored}, Kafka {committed}, wanted is {offset}. Only what is level "
                    "can skip, and only forward: start the service until it says that the partition stopped, stop it, and try again"
                )
            pipe.multi()
            pipe.set(self._key(partition), _encode(found, next_offset=offset, sequence=found.sequence + 1), keepttl=True)
            pipe.delete(f"{self._tag(partition)}outbox")
            pipe.execute()
        return offset - committed

    def _key(self, partition: int) -> str:
        return f"{self._tag(partition)}meta"

    def _tag(self, partition: int) -> str:
        return f"{self._settings.prefix}{{{self._service}:{partition}}}:"


def _encode(checkpoint: Checkpoint, **changes: Any) -> bytes:
    return msgspec.msgpack.encode(msgspec.structs.replace(checkpoint, **changes))


@click.group()
def state() -> None:
    """Look at the partitions' state in Redis, and mend what halted one."""


@state.command()
@click.argument("service", type=STAGES)
@click.option("--partitions", type=int, help="how many to show; CARTSTREAM_PARTITIONS if left out")
def show(service: str, partitions: int | None) -> None:
    """Sequence, owner's generation, next offset and watermark of each partition."""
    settings = load(StageSettings)
    checkpoints = _checkpoints(settings, service)
    table = Table("partition", "sequence", "generation", "next offset", "watermark", title=service)
    for partition in range(partitions or settings.partitions):
        found = checkpoints.read(partition)
        if found is None:
            table.add_row(str(partition), "–", "–", "–", "nothing stored")
        else:
            known = min(found.sources.values(), default=0)
            table.add_row(
                str(partition), str(found.sequence), str(found.generation), str(found.next_offset), iso(known) if known > 0 else "–"
            )
    Console().print(table)


@state.command("reset-generation")
@click.argument("service", type=STAGES)
@click.argument("partition", type=int)
def reset_generation(service: str, partition: int) -> None:
    """After the consumer group was deleted its generations start again: let the new ones own the partition. Stop the service first."""
    if not _checkpoints(load(StageSettings), service).forget_owner(partition):
        raise ConfigError(f"{service} partition {partition}: nothing stored in Redis")
    click.echo(f"{service} partition {partition}: any generation may own it now")


@state.command()
@click.argument("service", type=STAGES)
@click.argument("partition", type=int)
@click.option("--offset", type=int, required=True, help="where to begin: the committed offset gives up what was lost; 0 reads all again")
def rebuild(service: str, partition: int, offset: int) -> None:
    """Redis lost everything of a partition: say where it begins again. Nothing that Kafka has already is published a second time."""
    _checkpoints(load(StageSettings), service).begin_at(partition, offset)
    click.echo(f"{service} partition {partition}: begins at offset {offset} when its service starts")


@state.command()
@click.argument("service", type=STAGES)
@click.argument("partition", type=int)
@click.option("--offset", type=int, help="go on here, behind a record that is too large; without it with the oldest record there is")
def skip(service: str, partition: int, offset: int | None) -> None:
    """The next records are out of retention, or cannot be used: accept their loss, and go on behind them, the state as it is. Stop the
    service first."""
    settings = load(StageSettings)
    committed, oldest = _offsets(settings, service, partition)
    wanted = oldest if offset is None else offset
    given_up = _checkpoints(settings, service).skip_to(partition, wanted, committed)
    click.echo(f"{service} partition {partition}: goes on at offset {wanted} when its service starts; {given_up} offsets are given up")


def _offsets(settings: StageSettings, service: str, partition: int) -> tuple[int, int]:
    """What the group has committed, and the oldest record there is."""
    place = TopicPartition(settings.prefix + SOURCES[service], partition)
    group = f"{settings.prefix}cartstream.{service}"
    with closing(Consumer(consumer_config(settings.brokers, group, settings.session_timeout_ms))) as consumer:
        try:
            (committed,) = consumer.committed([place], timeout=_ASK_S)
            oldest, _ = consumer.get_watermark_offsets(place, timeout=_ASK_S)
        except KafkaException as error:
            raise Unavailable(f"Kafka: {error.args[0].str()}") from error
    return int(committed.offset), int(oldest)


def _checkpoints(settings: StageSettings, service: str) -> Checkpoints:
    return Checkpoints(connect(settings.redis_url.get_secret_value()), settings, service)
