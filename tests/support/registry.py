"""A schema registry small enough to see through: a real HTTP server that answers as Confluent's REST API does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NOT_FOUND = (404, {"error_code": 40403, "message": "Schema not found"})


@dataclass
class SmallRegistry:
    """`answers` by path (without query); any other path is not found. `asked` has the paths in order, `headers` those of the last."""

    url: str = ""
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    def put(self, id: int, schema: Any, guid: str = "", **more: Any) -> None:
        answer = {"schema": schema if isinstance(schema, str) else json.dumps(schema), **more}
        self.answers[f"/schemas/ids/{id}"] = (200, answer)
        if guid:
            self.answers[f"/schemas/guids/{guid}"] = (200, answer | {"id": id, "guid": guid})

    def respond(self, path: str) -> tuple[int, bytes, str]:
        status, body = self.answers.get(path, NOT_FOUND)
        if isinstance(body, bytes):
            return status, body, "text/html"
        return status, json.dumps(body).encode(), "application/vnd.schemaregistry.v1+json"


@contextmanager
def small_registry(port: int = 0, registry: SmallRegistry | None = None) -> Iterator[SmallRegistry]:
    """On loopback, until the block ends; with `registry` one that comes back."""
    found = registry or SmallRegistry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            found.asked.append(path)
            found.headers = dict(self.headers.items())
            status, body, kind = found.respond(path)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Tests read what is asked, nobody reads a log."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
