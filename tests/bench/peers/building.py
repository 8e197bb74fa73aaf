"""The peers' own worlds, made when a bench first needs them: jars by Maven, virtual environments by pip, all below build/peers."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from tests.support.kafka.jars import java
from tests.support.missing import Missing

HERE = Path(__file__).parent
BUILD = HERE.parents[2] / "build" / "peers"
LIMIT_S = 900


@cache
def jars() -> Path:
    """A folder for each module: its jar and, below, `libs`. Raises Missing."""
    java()
    sources = sorted(path for path in (HERE / "java").rglob("*") if path.suffix in (".java", ".xml"))
    wanted = BUILD / "java" / _digest(sources)
    if wanted.is_dir():
        return wanted
    maven = shutil.which("mvn")
    if maven is None:
        raise Missing("no `mvn` on the PATH to build the peers that run on Java")
    wanted.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=wanted.parent) as place:
        _run([maven, "-q", "-B", "-f", str(HERE / "java" / "pom.xml"), f"-DbuildDir={place}/built", "package"])
        Path(place, "built").rename(wanted)
    return wanted


@cache
def python(name: str) -> Path:
    """The interpreter of an environment with what `python/NAME.lock` pins. Raises Missing with pip's last words."""
    lock = HERE / "python" / f"{name}.lock"
    place = BUILD / "venvs" / f"{name}-{sys.version_info.major}.{sys.version_info.minor}-{_digest([lock])}"
    interpreter, ready = place / "bin" / "python", place / "ready"
    if not ready.exists():
        shutil.rmtree(place, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(place)])
        pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(lock)])
        ready.touch()
    return interpreter


def _digest(files: list[Path]) -> str:
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:12]


def _run(command: list[str]) -> None:
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired as slow:
        raise Missing(f"{command[0]} did not end within {LIMIT_S} s") from slow
    if ran.returncode != 0:
        said = [line for line in (ran.stdout + ran.stderr).splitlines() if "ERROR" in line] or [f"exit code {ran.returncode}"]
        raise Missing(f"{Path(command[0]).name}: {said[-1].strip() if 'pip' in command else said[0].strip()}")
