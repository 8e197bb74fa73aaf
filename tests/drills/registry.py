"""All drills, by name."""

from __future__ import annotations

from tests.drills.broker_faults import BROKER_FAULTS
from tests.drills.downtime import DOWNTIME
from tests.drills.drill import Drills
from tests.drills.kill import KILL
from tests.drills.last_shopper import LAST_SHOPPER
from tests.drills.network_faults import NETWORK
from tests.drills.poison import POISON
from tests.drills.provider import PROVIDER
from tests.drills.redis_faults import REDIS_FAULTS
from tests.drills.retention import RETENTION
from tests.drills.rolling import ROLLING
from tests.drills.zombie import ZOMBIE

_OF_PROCESSES: tuple[Drills, ...] = (KILL, ZOMBIE, *ROLLING, DOWNTIME, LAST_SHOPPER, PROVIDER, POISON)
_OF_SERVERS: tuple[Drills, ...] = (*REDIS_FAULTS, *BROKER_FAULTS, NETWORK, RETENTION)

DRILLS: dict[str, Drills] = {drill.name: drill for drill in (*_OF_PROCESSES, *_OF_SERVERS)}
