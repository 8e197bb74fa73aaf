"""`cartstream demo`: shoppers, or a file of events, through the whole pipeline on this machine."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live

from cartstream.demo import recording, simulation
from cartstream.demo.pipeline import Show, Stagecraft
from cartstream.demo.view import Picture, line_of, render
from cartstream.up.command import stopping_on_signals
from cartstream.up.processes import Say, print_line

LINE_EVERY_S = 5.0


@click.command()
@click.option("--input", "source", type=click.Path(path_type=Path), help="a file of events instead of simulated shoppers")
@click.option("--format", "layout", help="the file's format; without it told from the first line")
@click.option("--duration", type=click.FloatRange(15), default=60.0, show_default=True, help="real seconds of play")
@click.option("--plain", is_flag=True, help="a line every few seconds instead of a live view")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("build/demo"), show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="the same seed, the same shoppers")
@click.option("--shoppers", type=click.IntRange(1), help="how many; default 20 for every second of play")
@click.option("--without", multiple=True, metavar="SERVICE", help="leave a service out, e.g. insights")
def demo(
    source: Path | None,
    layout: str | None,
    duration: float,
    plain: bool,
    out: Path,
    seed: int,
    shoppers: int | None,
    without: tuple[str, ...],
) -> None:
    """Watch the whole pipeline at work. Exit code 0 only if every message came, once, and none after the purchase."""
    out.mkdir(parents=True, exist_ok=True)
    stop = threading.Event()
    with stopping_on_signals(stop), showing(plain or not sys.stdout.isatty(), out) as (show, say):
        stage = Stagecraft(duration, out, show, say, stop.is_set, without)
        if source is not None:
            summary, good = recording.play(source, layout, stage)
        else:
            summary, good = simulation.play(seed, shoppers, stage)
    summary.print(Console())
    raise SystemExit(0 if good else 1)


@contextmanager
def showing(plain: bool, out: Path) -> Iterator[tuple[Show, Say]]:
    """How to show pictures, and where the services' log lines go: to a file under the live view, else to stderr."""
    if plain:
        yield _Lines().show, print_line
        return
    with (out / "services.log").open("w") as log, Live(console=Console(), refresh_per_second=4, transient=True) as live:
        lock = threading.Lock()

        def say(name: str, line: str) -> None:
            with lock:
                log.write(f"{name:<11}| {line}\n")

        yield lambda picture: live.update(render(picture)), say


class _Lines:
    def __init__(self) -> None:
        self._next = 0.0
        self._phase = ""

    def show(self, picture: Picture) -> None:
        now = time.monotonic()
        if now >= self._next or picture.phase != self._phase:
            self._next, self._phase = now + LINE_EVERY_S, picture.phase
            click.echo(line_of(picture))
