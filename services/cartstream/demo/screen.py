"""Where the pictures of a run go: a live view for people, a line every few seconds for machines."""

from __future__ import annotations

import io
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live

from cartstream.demo.pipeline import Show
from cartstream.demo.view import Picture, line_of, render
from cartstream.up.processes import Say, print_line

LINE_EVERY_S = 5.0
_FONT_FACES = re.compile(r"@font-face\s*\{.*?\}", re.DOTALL)


@contextmanager
def showing(plain: bool, out: Path) -> Iterator[tuple[Show, Say]]:
    """How to show pictures, and where the services' log lines go: to a file under the live view, else to stderr."""
    kept = _Kept()
    try:
        with _shown(plain, out) as (show, say):
            yield kept.through(show), say
    finally:
        kept.save(out / "view.svg")


@contextmanager
def _shown(plain: bool, out: Path) -> Iterator[tuple[Show, Say]]:
    if plain:
        yield _Lines().show, print_line
        return
    with (out / "services.log").open("w") as log, Live(console=Console(), refresh_per_second=4, transient=True) as live:
        lock = threading.Lock()

        def say(name: str, line: str) -> None:
            with lock:
                log.write(f"{name:<11}| {line}\n")

        yield lambda picture: live.update(render(picture)), say


class _Kept:
    """A picture of the full play, late in it, for a file that a browser shows without asking anybody for fonts."""

    def __init__(self) -> None:
        self._last: Picture | None = None

    def through(self, show: Show) -> Show:
        def both(picture: Picture) -> None:
            if picture.phase == "playing" and picture.seconds < 0.8 * picture.length:
                self._last = picture
            show(picture)

        return both

    def save(self, path: Path) -> None:
        if self._last is not None:
            console = Console(record=True, width=110, file=io.StringIO())
            console.print(render(self._last))
            drawn = console.export_svg(title="cartstream demo")
            path.write_text(_FONT_FACES.sub("", drawn))


class _Lines:
    def __init__(self) -> None:
        self._next = 0.0
        self._phase = ""

    def show(self, picture: Picture) -> None:
        now = time.monotonic()
        if now >= self._next or picture.phase != self._phase:
            self._next, self._phase = now + LINE_EVERY_S, picture.phase
            click.echo(line_of(picture))
