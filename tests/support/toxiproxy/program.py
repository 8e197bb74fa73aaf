"""Toxiproxy's server, built once by Go from its module."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.support.missing import Missing

MODULE = "github.com/Shopify/toxiproxy/v2/cmd/server"
VERSION = "v2.12.0"
DEFAULT_CACHE = Path(__file__).parents[3] / "build" / "toxiproxy"
BUILD_SECONDS = 600


def program() -> Path:
    """The path of the server. Raises Missing with Go's last words."""
    found = shutil.which("toxiproxy-server")
    if found is not None:
        return Path(found)
    built = DEFAULT_CACHE / VERSION / "server"
    if not built.is_file():
        _build(built.parent)
    return built


def _build(into: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise Missing("no `toxiproxy-server` and no `go` on the PATH to build it")
    into.mkdir(parents=True, exist_ok=True)
    wanted = [go, "install", f"{MODULE}@{VERSION}"]
    try:
        ran = subprocess.run(
            wanted, env={**os.environ, "GOBIN": str(into)}, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as slow:
        raise Missing(f"Go did not build Toxiproxy within {BUILD_SECONDS} s") from slow
    if ran.returncode != 0:
        said = ran.stderr.strip().splitlines()
        raise Missing(f"Go cannot build Toxiproxy {VERSION}: {said[-1] if said else f'exit code {ran.returncode}'}")
