"""What every Kafka that tests start is told, by whatever means it is told."""

from __future__ import annotations

MESSAGE_MAX_BYTES = 12 * 1024 * 1024


def broker_settings(nodes: int) -> dict[str, str]:
    """Broker properties for a cluster of that many nodes, small and quick to start.

    Without the replication settings a single node never finishes `init_transactions()`.
    """
    replicas = str(min(nodes, 3))
    in_sync = str(1 if nodes == 1 else 2)
    return {
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.num.partitions": "4",
        "num.partitions": "4",
        "group.initial.rebalance.delay.ms": "0",
        # Drills kill members by the hundred: what they hold must come back sooner than after 6 s.
        "group.min.session.timeout.ms": "1000",
        # Of a killed member's open transaction: the end of its time limit is looked for every 10 s by default.
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
        # A killed node may not register again before its old session has run out: 9 s by default.
        "broker.session.timeout.ms": "4000",
        "broker.heartbeat.interval.ms": "500",
        "message.max.bytes": str(MESSAGE_MAX_BYTES),
        "replica.fetch.max.bytes": str(MESSAGE_MAX_BYTES),
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT,PROXIED:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "process.roles": "broker,controller",
    }
