"""What the services and providers say of themselves during a run: metrics, messages, and the records between the stages."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from cartstream.demo.truth import Message
from cartstream.up.processes import Processes

_TIMEOUT_S = 2.0
_decode_messages = msgspec.json.Decoder(list[Message]).decode


@dataclass(slots=True)
class Stage:
    """Records since the start, watermarks not counted, and how many wait."""

    received: int = 0
    sent: int = 0
    dlq: int = 0
    lag: int = 0


def read_stages(processes: Processes, services: Sequence[str], before: dict[str, Stage]) -> dict[str, Stage]:
    """Each service's figures now; those of `before` where one does not answer."""
    found = {}
    for service in services:
        try:
            with urllib.request.urlopen(f"{processes.metrics_url(service)}/metrics", timeout=_TIMEOUT_S) as response:  # noqa: S310
                found[service] = stage_of(response.read().decode())
        except (urllib.error.URLError, OSError):
            found[service] = before.get(service, Stage())
    return found


def stage_of(exposition: str) -> Stage:
    stage = Stage()
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            labels, value = sample.labels, int(sample.value)
            match sample.name:
                case "cartstream_records_consumed_total":
                    stage.received += value
                case "cartstream_records_processed_total" if labels["outcome"] == "control":
                    stage.received -= value
                case "cartstream_records_produced_total" if not labels["topic"].endswith(".dlq"):
                    stage.sent += value
                case "cartstream_sends_total" if labels["status"] == "accepted":
                    stage.sent += value
                case "cartstream_dlq_records_total":
                    stage.dlq += value
                case "cartstream_consumer_lag_records":
                    stage.lag += value
    return stage


class Mailbox:
    """All messages that the fake providers took, fetched bit by bit."""

    def __init__(self, fakes: str) -> None:
        self._fakes = fakes
        self.messages: list[Message] = []

    def look(self) -> list[Message]:
        """What has come since the last look. Raises OSError."""
        new: list[Message] = []
        last = self.messages[-1].n if self.messages else 0
        while True:
            with urllib.request.urlopen(f"{self._fakes}/messages?after={last}", timeout=_TIMEOUT_S) as response:  # noqa: S310
                some = _decode_messages(response.read())
            if not some:
                return new
            new += some
            self.messages += some
            last = some[-1].n

    def counts(self) -> dict[str, int]:
        """By channel, as the providers counted."""
        with urllib.request.urlopen(f"{self._fakes}/counts", timeout=_TIMEOUT_S) as response:  # noqa: S310
            found: dict[str, int] = json.load(response)
        return found
