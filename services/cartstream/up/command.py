"""`cartstream up`: every service of the pipeline on this machine, until somebody says stop or one of them ends."""

from __future__ import annotations

import click


@click.command()
@click.option("--only", metavar="NAMES", help="some services, comma separated; without it all, products if they are watched")
@click.option("--instances", "counts", multiple=True, metavar="NAME=N", help="several processes of a service, e.g. identity=2")
@click.option("--embedded", "on_embedded", is_flag=True, help="with a broker and Redis of its own, gone afterwards; never for production")
@click.option("--fakes", "with_fakes", is_flag=True, help="send to fake providers, which are started too")
@click.option("--clickstream-partitions", type=click.IntRange(1), help="also make the clickstream, with so many partitions")
def up(only: str | None, counts: tuple[str, ...], on_embedded: bool, with_fakes: bool, clickstream_partitions: int | None) -> None:
    """Run all services on this machine, each a process. One that ends takes all down (exit code 1): nothing is restarted."""
    from cartstream.up.launch import chosen, instances, launch

    names = instances(chosen(only), counts)
    code = launch(names, on_embedded=on_embedded, with_fakes=with_fakes, clickstream_partitions=clickstream_partitions)
    raise SystemExit(code)
