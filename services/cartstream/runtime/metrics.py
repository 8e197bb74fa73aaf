"""Every metric of cartstream. Counters are added up per batch, never per record; no label names a person or a product."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
)

WORK_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
AGE_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)


def new_registry(service: str, version: str) -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    Info("cartstream_build", "What is running", registry=registry).info({"version": version, "service": service})
    return registry


class StageMetrics:
    """Of a stateful service. Every series carries `service`."""

    def __init__(self, service: str, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, ("service", *labels), registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, ("service", *labels), registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, text, ("service", *labels), buckets=buckets, registry=registry)

        self.service = service
        self.consumed = counter("cartstream_records_consumed_total", "Records read", "topic").labels
        self.processed = counter(
            "cartstream_records_processed_total", "Records by outcome: ok, late, duplicate, control, dlq", "outcome"
        ).labels
        self.produced = counter("cartstream_records_produced_total", "Records written, by topic", "topic").labels
        self.dlq = counter("cartstream_dlq_records_total", "Records sent to a dead-letter topic", "reason").labels
        self.batch_seconds = histogram(
            "cartstream_batch_process_duration_seconds", "One poll's work, commit included", WORK_SECONDS
        ).labels(service)
        self.phase_seconds = counter(
            "cartstream_phase_seconds_total", "Where time goes: poll, step, wait; beside them redis, kafka", "phase"
        ).labels
        self.event_age = histogram("cartstream_event_age_seconds", "Now less event time, at commit, newest of a batch", AGE_SECONDS).labels(
            service
        )
        self.lag = gauge("cartstream_consumer_lag_records", "Records behind the end of the partition", "partition").labels
        self.watermark = gauge("cartstream_watermark_timestamp_seconds", "Event time up to which all is known", "partition").labels
        self.last_processed = gauge("cartstream_last_record_processed_timestamp_seconds", "When a record was last processed").labels(
            service
        )
        self.last_poll = gauge("cartstream_last_poll_timestamp_seconds", "When the loop last polled").labels(service)
        self.partitions = gauge("cartstream_assigned_partitions", "Partitions that this process owns").labels(service)
        self.halted = gauge("cartstream_halted_partitions", "Partitions stopped because going on could lose or repeat work").labels(service)
        self.rebalances = counter("cartstream_rebalances_total", "Partitions changed hands", "event").labels
        self.recoveries = counter(
            "cartstream_recoveries_total",
            "What taking a partition found: level, outbox_published, redis_behind, fresh",
            "found",
        ).labels
        self.fenced = counter("cartstream_fenced_total", "Writes refused because another owner had the partition").labels(service)
        self.commit_failures = counter("cartstream_commit_failures_total", "Transactions that had to be tried again").labels(service)
        self.redis_seconds = histogram("cartstream_redis_commit_duration_seconds", "The atomic writes of one poll", WORK_SECONDS).labels(
            service
        )
        self.waits = counter("cartstream_waits_total", "Times that Kafka or Redis did not answer and was waited for").labels(service)
        self.timers_pending = gauge("cartstream_timers_pending", "Wake-ups waiting").labels(service)
        self.timers_fired = counter("cartstream_timers_fired_total", "Wake-ups done").labels(service)
        self.timer_lateness = histogram("cartstream_timer_lateness_seconds", "Watermark less due time at firing", AGE_SECONDS).labels(
            service
        )
        self.largest = gauge("cartstream_largest", "The most that one of its kind has had since the start", "kind").labels
        self.outcomes = counter("cartstream_outcomes_total", "What the service decided or found, by kind", "kind", "detail").labels


class SenderMetrics:
    """Of a sender: one channel a process."""

    def __init__(self, channel: str, registry: CollectorRegistry) -> None:
        self.channel = channel
        self.sends = Counter(
            "cartstream_sends_total",
            "Commands by what became of them",
            ("channel", "status", "reason"),
            registry=registry,
        ).labels
        self.send_seconds = Histogram(
            "cartstream_send_duration_seconds", "Provider calls", ("channel",), buckets=WORK_SECONDS, registry=registry
        ).labels(channel)
        self.command_age = Histogram(
            "cartstream_command_age_seconds",
            "Now less due time, when the provider accepted",
            ("channel",),
            buckets=AGE_SECONDS,
            registry=registry,
        ).labels(channel)
        self.end_to_end = Histogram(
            "cartstream_end_to_end_seconds",
            "Click to provider, real seconds, for messages sent at once",
            ("channel", "journey"),
            buckets=AGE_SECONDS,
            registry=registry,
        ).labels
        self.retries = Counter(
            "cartstream_send_retries_total", "Provider calls tried again", ("channel", "reason"), registry=registry
        ).labels
        self.in_flight = Gauge("cartstream_sends_in_flight", "Provider calls under way", ("channel",), registry=registry).labels(channel)
        self.unknown_codes = Counter(
            "cartstream_provider_unknown_codes_total",
            "Provider answers that the table does not name",
            ("channel",),
            registry=registry,
        ).labels(channel)
        self.consumed = Counter("cartstream_records_consumed_total", "Records read", ("service", "topic"), registry=registry).labels
        self.lag = Gauge(
            "cartstream_consumer_lag_records",
            "Records behind the end of the partition",
            ("service", "partition"),
            registry=registry,
        ).labels
        self.dlq = Counter(
            "cartstream_dlq_records_total",
            "Records sent to a dead-letter topic",
            ("service", "reason"),
            registry=registry,
        ).labels
        self.partitions = Gauge(
            "cartstream_assigned_partitions", "Partitions that this process owns", ("service",), registry=registry
        ).labels(channel)
        self.fenced = Counter(
            "cartstream_fenced_total", "Writes refused because another owner had the partition", ("service",), registry=registry
        ).labels(channel)
        self.last_poll = Gauge(
            "cartstream_last_poll_timestamp_seconds", "When the loop last polled", ("service",), registry=registry
        ).labels(channel)
