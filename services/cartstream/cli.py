"""`cartstream`: run a service, or all of them; replay a file, or check it; show the settings; make keys."""

from __future__ import annotations

import base64
import os
import secrets
import sys
from importlib import import_module

import click

from cartstream import __version__
from cartstream.errors import CartstreamError, ConfigError
from cartstream.up.services import OPTIONAL, SERVICES

_ELSEWHERE = {
    "replay": "cartstream.replay.command",
    "events": "cartstream.replay.events_command",
    "state": "cartstream.runtime.state_command",
    "identity": "cartstream.identity.command",
    "detection": "cartstream.detection.intent.command",
    "up": "cartstream.up.command",
    "demo": "cartstream.demo.command",
}


class _Commands(click.Group):
    """Loads a command of another module when it is asked for: a service that starts, or `--version`, does not wait for them all."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted((*super().list_commands(context), *_ELSEWHERE))

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _ELSEWHERE:
            return super().get_command(context, name)
        command: click.Command = getattr(import_module(_ELSEWHERE[name]), name)
        return command


@click.group(cls=_Commands)
@click.version_option(__version__, prog_name="cartstream")
def cli() -> None:
    """Streaming identity, sessions, carts and journeys: every message exactly once, never after the purchase."""


@cli.command()
@click.argument("service", type=click.Choice((*SERVICES, *OPTIONAL)))
def run(service: str) -> None:
    """Run one service until SIGTERM. Settings come from CARTSTREAM_… (see `cartstream settings`)."""
    raise SystemExit(start(service))


def start(service: str) -> int:
    if service == "identity":
        from cartstream.identity.service import run as serve
    elif service == "sessions":
        from cartstream.sessions.service import run as serve
    elif service == "detection":
        from cartstream.detection.service import run as serve
    elif service == "journeys":
        from cartstream.journeys.service import run as serve
    elif service == "products":
        from cartstream.products.service import run as serve
    elif service == "insights":
        from cartstream.insights.service import run as serve
    else:
        from cartstream.senders.service import run as send

        return send(service)
    return serve()


@cli.command()
def fakes() -> None:
    """Run fake e-mail, SMS and push providers that keep what they get and fail on request."""
    from cartstream.fakes.service import run as serve

    raise SystemExit(serve())


@cli.command()
@click.option("--clickstream-partitions", type=int, help="also make the clickstream, with so many partitions")
def topics(clickstream_partitions: int | None) -> None:
    """Make the topics that are missing."""
    from cartstream.runtime.kafka import ensure_topics
    from cartstream.runtime.settings import Settings, load

    settings = load(Settings)
    ensure_topics(settings.brokers, settings.prefix, settings.partitions, settings.replication, clickstream_partitions)


@cli.command()
def settings() -> None:
    """Print every setting: variable, value in force, whether it is set, and what it is. Secrets stay hidden."""
    from rich.console import Console

    from cartstream.detection.settings import DetectionSettings
    from cartstream.fakes.settings import FakesSettings
    from cartstream.identity.settings import IdentitySettings
    from cartstream.insights.settings import InsightsSettings
    from cartstream.journeys.settings import JourneysSettings
    from cartstream.runtime.settings import Settings, StageSettings
    from cartstream.runtime.settings_table import table
    from cartstream.senders.settings import EmailSettings, PushSettings, SenderSettings, SmsSettings
    from cartstream.sessions.settings import SessionsSettings

    kinds: dict[str, type[Settings]] = {
        "every service": Settings,
        "identity, sessions, detection, journeys, products": StageSettings,
        "identity": IdentitySettings,
        "sessions": SessionsSettings,
        "detection": DetectionSettings,
        "journeys": JourneysSettings,
        "email, sms, push": SenderSettings,
        "email": EmailSettings,
        "sms": SmsSettings,
        "push": PushSettings,
        "insights": InsightsSettings,
        "fakes": FakesSettings,
    }
    known: set[str] = set()
    console = Console()
    for title, kind in kinds.items():
        console.print(table(title, kind, known))


@cli.command()
def keys() -> None:
    """Print fresh secrets: CARTSTREAM_HASH_KEY, CARTSTREAM_VAULT_KEYS, CARTSTREAM_VAPID_PRIVATE_KEY."""
    from cartstream.senders.push.vapid import generate

    click.echo(f"CARTSTREAM_HASH_KEY={secrets.token_urlsafe(32)}")
    click.echo(f"CARTSTREAM_VAULT_KEYS=k1={base64.b64encode(os.urandom(32)).decode()}")
    click.echo(f"CARTSTREAM_VAPID_PRIVATE_KEY={generate()[0]}")


def main() -> None:
    """Errors are one line. Exit code 2: wrong configuration; 1: could not go on."""
    try:
        cli(standalone_mode=True)
    except ConfigError as error:
        click.echo(f"cartstream: {error}", err=True)
        sys.exit(2)
    except CartstreamError as error:
        click.echo(f"cartstream: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
