"""`cartstream identity`: why two identifiers are one customer's, what other rules would change, and forgetting somebody."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click
import orjson
from rich.console import Console
from rich.table import Table

from cartstream.events import adapters
from cartstream.events.formats.opening import FORMS
from cartstream.runtime.settings import load

if TYPE_CHECKING:
    from cartstream.events.records import Identifier
    from cartstream.events.times import EventTime
    from cartstream.identity.directory import Directory
    from cartstream.identity.dry_run import Change, Cluster, Comparison
    from cartstream.identity.explain import Explanation
    from cartstream.identity.preview import Erasure, Unlinking

FORMAT = click.option(
    "--format", "name", help=f"how they are recorded: {', '.join(adapters.FORMATS)}, or {FORMS}; told from the first line if left out"
)
JSON = click.option("--json", "as_json", is_flag=True, help="lines of JSON")
_SHOWN = 8


@click.group()
def identity() -> None:
    """Who is whom, and why."""


@identity.command()
@click.argument("first")
@click.argument("second")
@click.option(
    "--input", "source", type=click.Path(path_type=Path), help="recorded events to replay; without it the live directory is asked"
)
@FORMAT
@JSON
def explain(first: str, second: str, source: Path | None, name: str | None, as_json: bool) -> None:
    """The events that link two identifiers, such as user_id:u1 and device:d7, each with its time and what it showed together.

    The exit code is 1 when nothing links them. An address may be given in clear or as its hash; only hashes are printed.
    """
    found = _live(first, second) if source is None else _recorded(first, second, source, name)
    if as_json:
        _print_json(found.records())
    else:
        click.echo("\n".join(found.lines()))
    raise SystemExit(0 if found.links is not None else 1)


def _live(first: str, second: str) -> Explanation:
    from cartstream.identity.explain import explain as explained  # identity and all it needs: a service that starts must not wait for it
    from cartstream.identity.explain import parse_identifier
    from cartstream.identity.redis_directory import RedisDirectory
    from cartstream.identity.settings import IdentitySettings
    from cartstream.runtime.redis_store import connect
    from cartstream.runtime.vault import AddressHash

    settings = load(IdentitySettings)
    hash_address = partial(AddressHash, settings.hash_key.get_secret_value())
    identifiers = parse_identifier(first, hash_address), parse_identifier(second, hash_address)
    with closing(connect(settings.redis_url.get_secret_value())) as client:
        return explained(RedisDirectory(client, settings.prefix, _never_seals, ttl_s=0), *identifiers)


def _never_seals(kind: str, address: str) -> bytes:
    raise AssertionError("explaining stores nothing")


def _recorded(first: str, second: str, source: Path, name: str | None) -> Explanation:
    from cartstream.identity.explain import explain as explained
    from cartstream.identity.explain import parse_identifier
    from cartstream.identity.input import schema_source
    from cartstream.identity.rehearsal import Rehearsal, rehearse
    from cartstream.identity.rules import load_rules
    from cartstream.identity.settings import replay_settings
    from cartstream.runtime.vault import AddressHash

    settings = replay_settings()
    hash_address = partial(AddressHash, settings.hash_key.get_secret_value())
    identifiers = parse_identifier(first, hash_address), parse_identifier(second, hash_address)
    rehearsal = Rehearsal(settings, load_rules(settings.identity_rules or None))
    rehearse(adapters.read(source, name, schema_source(settings)), rehearsal)
    return explained(rehearsal.directory, *identifiers, rehearsal.refused)


@identity.command("dry-run")
@click.option("--rules", required=True, type=click.Path(path_type=Path), help="the new rules")
@click.option("--input", "source", required=True, type=click.Path(path_type=Path), help="recorded events to replay")
@FORMAT
@JSON
def dry_run(rules: Path, source: Path, name: str | None, as_json: bool) -> None:
    """Which customers change if identity goes by other rules than CARTSTREAM_IDENTITY_RULES, had it done so from the first event on."""
    from cartstream.identity.dry_run import compare
    from cartstream.identity.input import schema_source
    from cartstream.identity.rules import load_rules
    from cartstream.identity.settings import replay_settings

    settings = replay_settings()
    today, new = load_rules(settings.identity_rules or None), load_rules(rules)
    found = compare(adapters.read(source, name, schema_source(settings)), settings, today, new)
    if as_json:
        _print_json(found.records())
        return
    for change in found.changes:
        click.echo(_line(change))
    Console().print(_summary(found))


@identity.command()
@click.argument("identifier")
@click.option("--dry-run", "only_told", is_flag=True, help="say what would be forgotten, and write nothing")
@JSON
def erase(identifier: str, only_told: bool, as_json: bool) -> None:
    """Forget whoever has an identifier, such as user_id:u1 or email:ann@example.com: identifiers, contacts, and what every service keeps.

    Writes a command to each partition of the clickstream; identity does it when it gets there, and so does every replay. What comes
    later of an earlier time is nobody's; who is seen again after it is a new customer. Again, it changes nothing.
    """
    from cartstream.identity.preview import preview

    def look(directory: Directory, named: Callable[[str], Identifier], at: EventTime) -> Erasure:
        return preview(directory, named(identifier), at, uuid4().hex)

    _correct(look, only_told, as_json)


@identity.command()
@click.argument("leaves")
@click.argument("stays")
@click.option("--dry-run", "only_told", is_flag=True, help="say who would be whom, and write nothing")
@JSON
def unlink(leaves: str, stays: str, only_told: bool, as_json: bool) -> None:
    """Take out the wrong link between two identifiers, as `explain` shows it, such as device:d7 and user_id:u1.

    The second keeps the customer, with all that hangs together with it; the first, with what hangs together with that, becomes somebody
    new. Writes a command to each partition of the clickstream, so every replay does it, too. What is older does not link the two again.
    """
    from cartstream.identity.preview import preview_unlink

    def look(directory: Directory, named: Callable[[str], Identifier], at: EventTime) -> Unlinking:
        return preview_unlink(directory, named(leaves), named(stays), at, uuid4().hex)

    _correct(look, only_told, as_json)


def _correct(
    look: Callable[[Directory, Callable[[str], Identifier], EventTime], Erasure | Unlinking], only_told: bool, as_json: bool
) -> None:
    """Say what would be done, and have it done."""
    from cartstream.identity.announcement import announce
    from cartstream.identity.correction import signed
    from cartstream.identity.explain import parse_identifier
    from cartstream.identity.redis_directory import RedisDirectory
    from cartstream.identity.settings import IdentitySettings
    from cartstream.runtime.clock import parse_clock
    from cartstream.runtime.redis_store import connect
    from cartstream.runtime.vault import AddressHash

    settings = load(IdentitySettings)
    hash_address = AddressHash(settings.hash_key.get_secret_value())
    with closing(connect(settings.redis_url.get_secret_value())) as client:
        directory = RedisDirectory(client, settings.prefix, _never_seals, ttl_s=0, conceal=lambda one: hash_address(one.type, one.value))
        found = look(directory, lambda text: parse_identifier(text, lambda: hash_address), parse_clock(settings.clock).now())
    count = 0
    if found.command is not None and not only_told:
        count = announce(settings.brokers, settings.prefix, signed(found.command, hash_address))
    if as_json:
        _print_json([{**found.record(), "partitions": count}])
        return
    click.echo("\n".join(found.lines()))
    if count:
        click.echo(f"written to {count} partitions; done once identity has read it: --dry-run says so")


def _print_json(records: list[dict[str, Any]]) -> None:
    for record in records:
        click.echo(orjson.dumps(record))


def _line(change: Change) -> str:
    today, new = (" | ".join(map(_told, clusters)) or "nobody" for clusters in (change.today, change.new))
    return f"{change.kind}: {today} -> {new}"


def _told(cluster: Cluster) -> str:
    more = len(cluster.names) - _SHOWN
    return f"{cluster.customer_id} ({', '.join(cluster.names[:_SHOWN])}{f' and {more} more' if more > 0 else ''})"


def _summary(found: Comparison) -> Table:
    from cartstream.identity.dry_run import KINDS, SIZES

    one, other = found.today, found.new
    table = Table("", "today", "new", title=f"{found.events:,} events, {len(found.changes):,} changes")
    table.add_row("customers known by some identifier", f"{one.customers:,}", f"{other.customers:,}")
    table.add_row("the largest of them", f"{one.largest:,}", f"{other.largest:,}")
    for size in SIZES:
        if one.sizes[size] or other.sizes[size]:
            table.add_row(f"of size {size}", f"{one.sizes[size]:,}", f"{other.sizes[size]:,}")
    for reason in sorted(one.refused.keys() | other.refused.keys()):
        table.add_row(f"links refused: {reason}", f"{one.refused.get(reason, 0):,}", f"{other.refused.get(reason, 0):,}")
    table.add_row("events that cannot be used", f"{one.dead_letters:,}", f"{other.dead_letters:,}")
    table.add_section()
    for kind, count in found.counts().items():
        table.add_row(f"{kind}: {KINDS[kind]}", "", f"{count:,}")
    return table
