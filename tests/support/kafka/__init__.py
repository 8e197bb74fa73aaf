"""A real Kafka: the one given, or one in Docker, or one on Java."""

from tests.support.kafka.real import RealKafka

__all__ = ["RealKafka"]
