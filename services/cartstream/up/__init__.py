"""All services of one machine as processes: `cartstream up`, and the supervisor that the demo and the tests use."""

from cartstream.up.processes import Processes

__all__ = ["Processes"]
