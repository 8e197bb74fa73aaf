"""`cartstream replay run`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from cartstream.events import adapters
from cartstream.events.formats.opening import FORMS
from cartstream.events.times import HOUR, EventTime, iso


@click.group()
def replay() -> None:
    """Run recorded events through the whole pipeline, without broker or Redis."""


@replay.command()
@click.option("--input", "source", required=True, type=click.Path(path_type=Path), help="the recorded events")
@click.option(
    "--format", "name", help=f"how they are recorded: {', '.join(adapters.FORMATS)}, or {FORMS}; told from the first line if left out"
)
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="where the .jsonl files go")
@click.option("--products", type=click.Path(path_type=Path), help="what the shop sold then, as JSON lines: prices and stock are watched")
@click.option("--settle-hours", default=48, show_default=True, help="event time that passes after the last event, for what is still due")
def run(source: Path, name: str | None, out: Path, products: Path | None, settle_hours: int) -> None:
    """Replay a file on its own event time. The same file gives the same bytes, every time."""
    from cartstream.identity.input import schema_source  # every stage: a service that starts must not wait for it
    from cartstream.identity.settings import IdentitySettings
    from cartstream.replay.products import read_products
    from cartstream.replay.run import FILES, Replay
    from cartstream.runtime.settings import load

    console = Console(stderr=True)
    schemas = schema_source(load(IdentitySettings))
    total = sum(1 for _ in adapters.read(source, name, schemas))
    with Replay(out, products=read_products(products) if products is not None else ()) as replayed, _bar(console) as bar:
        task = bar.add_task("replay", total=total, at="")

        def advance(count: int, at: EventTime) -> None:
            bar.update(task, advance=count, at=iso(at)[:16])

        replayed.play(adapters.read(source, name, schemas), settle_hours * HOUR, advance)
    table = Table("file", "lines", title=f"{replayed.counts['events']:,} events, {replayed.counts['refused']:,} refused")
    for file in FILES:
        table.add_row(str(out / f"{file}.jsonl"), f"{replayed.counts[file]:,}")
    console.print(table)


def _bar(console: Console) -> Progress:
    return Progress(TextColumn("{task.fields[at]}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console)
