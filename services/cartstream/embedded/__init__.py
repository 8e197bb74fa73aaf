"""A broker and a Redis for a machine with nothing but Python: for `make demo` and `cartstream up`, never for production."""

from cartstream.embedded.broker import EmbeddedBroker
from cartstream.embedded.redis import EmbeddedRedis

__all__ = ["EmbeddedBroker", "EmbeddedRedis"]
