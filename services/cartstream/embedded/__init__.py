"""A broker and a Redis for a machine with nothing but Python: for demos and development, never for production."""

from cartstream.embedded.broker import EmbeddedBroker
from cartstream.embedded.redis import EmbeddedRedis

__all__ = ["EmbeddedBroker", "EmbeddedRedis"]
