"""Kafka's jars, fetched once by Maven."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.support.missing import Missing

HERE = Path(__file__).parent
POM = HERE / "pom.xml"
DEFAULT_CACHE = HERE.parents[2] / "build" / "kafka"
CACHE_VARIABLE = "CARTSTREAM_TEST_KAFKA_CACHE"
OLDEST_JAVA = 17
FETCH_SECONDS = 600


def java() -> str:
    """The path of a Java that can run the broker. Raises Missing if there is none."""
    found = shutil.which("java")
    if found is None:
        raise Missing("no `java` on the PATH")
    # `java -version` prints to stderr, as it always did.
    told = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version[1]) < OLDEST_JAVA:
        raise Missing(f"{found} is not Java {OLDEST_JAVA} or later: {told.splitlines()[0] if told else 'says nothing'}")
    return found


def jars() -> Path:
    """The directory of the jars that the pom names; fetched if need be. Raises Missing with Maven's last words."""
    cache = Path(os.environ.get(CACHE_VARIABLE, DEFAULT_CACHE))
    wanted = cache / hashlib.sha256(POM.read_bytes()).hexdigest()[:12]
    if wanted.is_dir():
        return wanted
    maven = shutil.which("mvn")
    if maven is None:
        raise Missing(f"no `mvn` on the PATH to fetch Kafka's jars into {cache}")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as fetched:
        _fetch(maven, Path(fetched) / "jars")
        _keep(Path(fetched) / "jars", wanted)
    return wanted


def _fetch(maven: str, target: Path) -> None:
    goal = ["-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={target}"]
    try:
        ran = subprocess.run([maven, *goal], capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
    except subprocess.TimeoutExpired as slow:
        raise Missing(f"Maven did not fetch Kafka's jars within {FETCH_SECONDS} s") from slow
    if ran.returncode != 0:
        said = (ran.stdout + ran.stderr).strip().splitlines()
        raise Missing(f"Maven cannot fetch Kafka's jars: {said[0] if said else f'exit code {ran.returncode}'}")


def _keep(fetched: Path, wanted: Path) -> None:
    try:
        fetched.rename(wanted)
    except OSError:
        # Another run was quicker: its jars are the same.
        if not wanted.is_dir():
            raise
