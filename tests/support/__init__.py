"""Real servers for tests, benchmarks and drills: found where there are any, started where they can be."""

from tests.support.kafka import RealKafka
from tests.support.missing import Missing
from tests.support.redis import RealRedis
from tests.support.redis_cluster import RealRedisCluster
from tests.support.stoppable_redis import StoppableRedis

__all__ = ["Missing", "RealKafka", "RealRedis", "RealRedisCluster", "StoppableRedis"]
