"""Several commands of a watching pipeline in one round trip: redis-py waits for the answer to each."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from redis.client import Pipeline
from redis.exceptions import ResponseError

from cartstream.runtime.redis_cluster import SlotPipeline


def ask(pipe: Pipeline, *commands: tuple[Any, ...]) -> list[Any]:
    """The answers, in order. With WATCH first, what the others read is watched before it is read.

    Nothing is repeated: where the connection breaks, it is unknown what was done. Raises RedisError; of answers that are errors the first.
    """
    with pipe.at(commands[0][1]) if isinstance(pipe, SlotPipeline) else nullcontext():
        if pipe.connection is None:
            pipe.connection = pipe.connection_pool.get_connection()
        connection: Any = pipe.connection
        connection.send_packed_command(connection.pack_commands(commands))
        answers: list[Any] = []
        failed: ResponseError | None = None
        for command in commands:
            try:
                answers.append(pipe.parse_response(connection, command[0]))  # type: ignore[no-untyped-call]
            except ResponseError as error:  # the other answers must still be read off the connection
                failed = failed or error
        if failed is not None:
            raise failed
        return answers
