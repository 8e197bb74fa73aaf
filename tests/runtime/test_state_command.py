"""Looking at partitions in Redis, and mending what halted one."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from cartstream.errors import ConfigError, Fenced
from cartstream.runtime.redis_store import RedisStore, connect
from cartstream.runtime.state_command import state
from cartstream.runtime.store import Batch, Checkpoint


@pytest.fixture
def store(redis_url: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> RedisStore:
    monkeypatch.setenv("CARTSTREAM_REDIS_URL", redis_url)
    monkeypatch.setenv("CARTSTREAM_PREFIX", topic_prefix)
    monkeypatch.setenv("CARTSTREAM_PARTITIONS", "2")
    return RedisStore(connect(redis_url), topic_prefix, "sessions", 3_600)


def write(store: RedisStore, generation: int) -> None:
    store.commit(1, Batch(Checkpoint(1, generation, 42, {"identity:0": 1_764_000_000_000}), {}, [], []))


def test_partitions_are_shown_with_offset_and_watermark(store: RedisStore) -> None:
    write(store, 7)
    shown = CliRunner().invoke(state, ["show", "sessions"], env={"COLUMNS": "120"}).output
    assert "42" in shown
    assert "2025-11-24T16:00:00.000Z" in shown
    assert "nothing stored" in shown


def test_a_new_group_may_own_a_partition_after_its_generation_was_reset(store: RedisStore) -> None:
    write(store, 7)
    with pytest.raises(Fenced, match="cartstream state reset-generation"):
        store.open(1, 1)
    assert CliRunner().invoke(state, ["reset-generation", "sessions", "1"]).exit_code == 0
    opened = store.open(1, 1)
    assert opened.checkpoint is not None
    assert opened.checkpoint.next_offset == 42


def test_a_lost_partition_begins_where_it_is_told(store: RedisStore) -> None:
    assert CliRunner().invoke(state, ["rebuild", "sessions", "0", "--offset", "17"]).exit_code == 0
    opened = store.open(0, 3)
    assert opened.checkpoint is not None
    assert opened.checkpoint.next_offset == 17


def test_a_partition_with_state_is_not_rebuilt(store: RedisStore) -> None:
    write(store, 7)
    answer = CliRunner().invoke(state, ["rebuild", "sessions", "1", "--offset", "0"])
    assert isinstance(answer.exception, ConfigError)
    assert store.sequence(1) == (1, 7)
