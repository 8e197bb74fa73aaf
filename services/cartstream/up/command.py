"""`cartstream up`: every service of the pipeline on this machine, until somebody says stop or one of them ends."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import click

from cartstream.embedded.child import HOST, free_port
from cartstream.errors import ConfigError, Unavailable
from cartstream.runtime.kafka import ensure_topics
from cartstream.runtime.settings import Settings, load
from cartstream.up.processes import Processes, answers
from cartstream.up.surroundings import embedded, fake_providers, throwaway_secrets

SERVICES = ("identity", "sessions", "detection", "journeys", "email", "sms", "push", "insights")
_LOOK_S = 0.2
_FAKES_SECONDS = 20.0


@click.command()
@click.option("--only", metavar="NAMES", help="comma separated; default all: " + ",".join(SERVICES))
@click.option("--instances", "counts", multiple=True, metavar="NAME=N", help="several processes of a service, e.g. identity=2")
@click.option("--embedded", "on_embedded", is_flag=True, help="with a broker and Redis of its own, gone afterwards; never for production")
@click.option("--fakes", "with_fakes", is_flag=True, help="send to fake providers, which are started too")
@click.option("--clickstream-partitions", type=click.IntRange(1), help="also make the clickstream, with so many partitions")
def up(only: str | None, counts: tuple[str, ...], on_embedded: bool, with_fakes: bool, clickstream_partitions: int | None) -> None:
    """Run all services on this machine, each a process. One that ends takes all down (exit code 1): nothing is restarted."""
    names = instances(_services(only), counts)
    stop = threading.Event()
    with stopping_on_signals(stop), ExitStack() as stack:
        env: dict[str, str] = {}
        if on_embedded:
            env |= stack.enter_context(embedded(several_instances=bool(counts))) | throwaway_secrets()
            click.echo(f"embedded: broker {env['CARTSTREAM_BROKERS']}, Redis {env['CARTSTREAM_REDIS_URL']}", err=True)
        else:
            settings = load(Settings)
            ensure_topics(settings.brokers, settings.prefix, settings.partitions, settings.replication, clickstream_partitions)
        if with_fakes:
            env |= throwaway_secrets() | fake_providers(free_port(), free_port())
        processes = stack.enter_context(Processes(env))
        if with_fakes:
            start_fakes(processes, env)
        for name in names:
            processes.start(name)
            click.echo(f"{name}: process {processes.pid(name)}, {processes.metrics_url(name)}/metrics", err=True)
        code = watch(processes, stop)
    raise SystemExit(code)


def watch(processes: Processes, stop: threading.Event) -> int:
    """Until `stop` is set (0) or a process ends by itself (1, and its name is said)."""
    while not stop.wait(_LOOK_S):
        gone = processes.ended()
        if gone is not None:
            click.echo(f"cartstream up: {gone[0]} ended with exit code {gone[1]}: stopping all", err=True)
            return 1
    return 0


def start_fakes(processes: Processes, env: dict[str, str]) -> str:
    """Start the fake providers and wait until they answer; gives the address of their control API. Raises Unavailable."""
    processes.start("fakes", arguments=["fakes"])
    url = f"http://{HOST}:{env['CARTSTREAM_FAKES_HTTP_PORT']}"
    deadline = time.monotonic() + _FAKES_SECONDS
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


def _services(only: str | None) -> list[str]:
    if only is None:
        return list(SERVICES)
    chosen = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in chosen if name not in SERVICES]
    if unknown or not chosen:
        raise ConfigError(f"--only {only}: say some of {', '.join(SERVICES)}")
    return [name for name in SERVICES if name in chosen]


@contextmanager
def stopping_on_signals(stop: threading.Event) -> Iterator[None]:
    """SIGINT and SIGTERM set `stop` while the block lasts."""
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
