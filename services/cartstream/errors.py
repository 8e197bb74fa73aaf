"""Every error that cartstream raises on purpose.

CartstreamError
├── ConfigError        a setting, file or rule is wrong: exit code 2, one line with file and line number
├── Refused            one record cannot be used: it goes to the dead-letter topic with its reason, the partition goes on
├── Unavailable        Kafka, Redis or a provider does not answer: retried with backoff, readiness is false
│   └── Unclear        it took the request and did not say what became of it: to be found out before it is tried again
└── PartitionHalted    going on could lose or repeat work: the partition stops loudly until somebody acts
    └── Fenced         another owner has taken the partition: this one drops what it holds and reloads
"""

from __future__ import annotations


class CartstreamError(Exception):
    """The root. Messages name the thing, the place and what to do."""


class ConfigError(CartstreamError):
    """A setting, file or rule is wrong. The process exits with code 2."""


class Refused(CartstreamError):
    """One record cannot be used. `reason` is a short fixed word for metrics; the message says more, without the record's content."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Unavailable(CartstreamError):
    """A server that we depend on does not answer."""


class Unclear(Unavailable):
    """What was asked for may have happened."""


class PartitionHalted(CartstreamError):
    """Going on would lose or repeat work."""


class Fenced(PartitionHalted):
    """Another owner has the partition. Nothing of this batch was written."""
