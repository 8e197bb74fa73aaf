"""All services as processes, watched until somebody says stop or one of them ends."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import click

from cartstream.detection.settings import DetectionSettings
from cartstream.embedded.child import HOST, free_port
from cartstream.errors import ConfigError, Unavailable
from cartstream.runtime.kafka import ensure_topics
from cartstream.runtime.settings import Settings, load
from cartstream.up.processes import Processes, answers
from cartstream.up.services import OPTIONAL
from cartstream.up.services import SERVICES as SERVICES
from cartstream.up.surroundings import embedded, fake_providers, throwaway_secrets

_LOOK_S = 0.2
_FAKES_SECONDS = 20.0


def launch(names: list[str], *, on_embedded: bool, with_fakes: bool, clickstream_partitions: int | None) -> int:
    """Start everything and watch it. The exit code: 0 when told to stop, 1 when a process ended by itself. Raises CartstreamError."""
    stop = threading.Event()
    with stopping_on_signals(stop), ExitStack() as stack:
        env: dict[str, str] = {}
        if on_embedded:
            several = len({name.partition("-")[0] for name in names}) < len(names)
            env |= stack.enter_context(embedded(several_instances=several)) | throwaway_secrets()
            click.echo(f"embedded: broker {env['CARTSTREAM_BROKERS']}, Redis {env['CARTSTREAM_REDIS_URL']}", err=True)
        else:
            settings = load(Settings)
            ensure_topics(settings.brokers, settings.prefix, settings.partitions, settings.replication, clickstream_partitions)
        if with_fakes:
            env |= throwaway_secrets() | env | fake_providers(free_port(), free_port())
        processes = stack.enter_context(Processes(env))
        if with_fakes:
            start_fakes(processes, env)
        for name in names:
            processes.start(name)
            click.echo(f"{name}: process {processes.pid(name)}, {processes.metrics_url(name)}/metrics", err=True)
        return watch(processes, stop)


def watch(processes: Processes, stop: threading.Event) -> int:
    """Until `stop` is set (0) or a process ends by itself (1, and its name is said)."""
    while not stop.wait(_LOOK_S):
        gone = processes.ended()
        if gone is not None:
            click.echo(f"cartstream up: {gone[0]} ended with exit code {gone[1]}: stopping all", err=True)
            return 1
    return 0


def start_fakes(processes: Processes, env: dict[str, str], seconds: float = _FAKES_SECONDS) -> str:
    """Start the fake providers and wait until they answer; gives the address of their control API. Raises Unavailable."""
    processes.start("fakes", arguments=["fakes"])
    url = f"http://{HOST}:{env['CARTSTREAM_FAKES_HTTP_PORT']}"
    deadline = time.monotonic() + seconds
    while not answers(f"{url}/livez"):
        if processes.ended() is not None or time.monotonic() > deadline:
            raise Unavailable(f"the fake providers do not answer on {url}: see their log lines")
        time.sleep(0.05)
    return url


def instances(services: Iterable[str], counts: Iterable[str]) -> list[str]:
    """Process names: `identity-1`, `identity-2` where a service has several. Raises ConfigError."""
    wanted = dict.fromkeys(services, 1)
    for entry in counts:
        name, _, number = entry.partition("=")
        if name not in wanted or not number.isdigit() or int(number) < 1:
            raise ConfigError(f"--instances {entry}: say NAME=N, NAME one of {', '.join(wanted)}")
        wanted[name] = int(number)
    return [name if n == 1 else f"{name}-{i}" for name, n in wanted.items() for i in range(1, n + 1)]


def chosen(only: str | None) -> list[str]:
    """The services that `--only` names; without it all, those among them that a setting has to ask for. Raises ConfigError."""
    if only is None:
        return [*OPTIONAL, *SERVICES] if load(DetectionSettings).watch_products else list(SERVICES)
    wanted = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in (*OPTIONAL, *SERVICES)]
    if unknown or not wanted:
        raise ConfigError(f"--only {only}: say some of {', '.join((*SERVICES, *OPTIONAL))}")
    return [name for name in (*OPTIONAL, *SERVICES) if name in wanted]


@contextmanager
def stopping_on_signals(stop: threading.Event) -> Iterator[None]:
    """SIGINT and SIGTERM set `stop` while the block lasts."""
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
