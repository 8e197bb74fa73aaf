"""Which URL names a cluster, which slot a key is in, and which key a command goes by."""

from __future__ import annotations

import pytest
from redis.exceptions import ClusterDownError

from cartstream.runtime.slots import ClusterUrl, SlotMap, key_of


@pytest.mark.parametrize(
    ("url", "named"),
    [("redis+cluster://a:1", True), ("rediss+cluster://a:1,b:2", True), ("redis://a:1", False), ("rediss://a:1/0", False)],
)
def test_the_scheme_says_whether_a_url_names_a_cluster(url: str, named: bool) -> None:
    assert ClusterUrl.names_cluster(url) is named


def test_every_server_gets_the_credentials_and_options_of_the_url() -> None:
    url = ClusterUrl("rediss+cluster://me:s%40cret@one:7001,two,[::1]:7003/?ssl_cert_reqs=none")

    assert url.seeds == [("one", 7001), ("two", 6379), ("::1", 7003)]
    assert url.of(("three", 7004)) == "rediss://me:s%40cret@three:7004?ssl_cert_reqs=none"
    assert url.of(("::1", 7003)) == "rediss://me:s%40cret@[::1]:7003?ssl_cert_reqs=none"


@pytest.mark.parametrize("url", ["redis+cluster://", "redis+cluster://me@", "redis+cluster://one:7001,,two", "redis+cluster://one:port"])
def test_a_url_without_a_server_or_port_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        ClusterUrl(url)


def test_a_key_lies_where_its_hash_tag_does() -> None:
    answer = [[0, 8191, [b"low", 1, b"id"], [b"copy", 3, b"id"]], [8192, 16383, [b"", 2, b"id"]]]
    slots = SlotMap(answer, ("asked", 9))

    assert slots.owner("foo") == ("asked", 2), "slot 12182, and the server that was asked does not name itself"
    assert slots.owner(b"a{foo}b") == slots.owner("c{foo}") == ("asked", 2)
    assert slots.owner("bar") == ("low", 1), "slot 5061"
    assert (slots.servers, slots.primaries) == ([("low", 1), ("copy", 3), ("asked", 2)], [("low", 1), ("asked", 2)])


def test_a_slot_that_nobody_has_is_an_error() -> None:
    with pytest.raises(ClusterDownError, match="slot 12182"):
        SlotMap([[0, 100, [b"one", 1]]], ("one", 1)).owner("foo")


def test_a_command_goes_by_its_first_key() -> None:
    assert key_of(("GET", "a")) == "a"
    assert key_of(("MGET", b"a", b"b")) == b"a"
    assert key_of(("EVALSHA", "5ca1e", 2, "a", "b")) == "a"
    assert key_of(("EVAL", "return 1", 1, "a")) == "a"
    assert [key_of(("PING",)), key_of(("SCRIPT LOAD", "return 1"))] == [None, None]
