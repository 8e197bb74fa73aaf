"""Settings of the insights service."""

from __future__ import annotations

from pydantic import Field

from cartstream.events import topics
from cartstream.events.times import DAY, EventTime
from cartstream.runtime.settings import Settings

SOURCES = (topics.SIGNALS, *map(topics.commands, topics.CHANNELS), topics.DELIVERIES)
TABLE = "tally"


class InsightsSettings(Settings):
    insights_host: str = Field("127.0.0.1", description="address of GET /insights; 0.0.0.0 in a container")
    insights_port: int = Field(6066, ge=1, le=65_535, description="its port; Faust's usual one")
    insights_retention_days: int = Field(30, ge=1, description="event time after which an hour's counts go; it bounds the table")
    insights_future_s: int = Field(
        86_400, ge=0, description="a record further ahead of the clock is refused: it would end the retention of all others"
    )
    insights_commit_s: float = Field(2.0, gt=0, description="real s between commits; a crash repeats so much work, and counts it once")
    insights_declare_topics: bool = Field(True, description="make the table's changelog topic; false where the broker has no controller")
    insights_check_crcs: bool = Field(True, description="check records' checksums; the embedded broker's commit markers have wrong ones")
    session_timeout_ms: int = Field(45_000, ge=1_000, description="Kafka gives a silent member's partitions away after this")

    @property
    def group(self) -> str:
        """The consumer group, and the start of the changelog's name."""
        return f"{self.prefix}cartstream.insights"

    @property
    def changelog(self) -> str:
        """The topic that keeps the counts: compacted, with as many partitions as the sources."""
        return f"{self.group}-{TABLE}-changelog"

    @property
    def retention_ms(self) -> EventTime:
        return self.insights_retention_days * DAY
