"""Kafka on this machine's Java: one to three KRaft nodes on free loopback ports, in a temporary directory."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cartstream.embedded.child import HOST, end, free_port
from tests.support.kafka.answer import new_cluster_id, wait_for_brokers, wait_until_in_sync, wait_until_missed
from tests.support.kafka.jars import HERE, jars, java
from tests.support.kafka.settings import broker_settings

LOG_FILE = "node.log"
HEAP = "-Xmx1g"
QUICK = "-XX:TieredStopAtLevel=1"
STOP_SECONDS = 30.0


class JavaKafka:
    """A cluster of broker processes. Raises Missing if this machine cannot run them.

    With `advertised`, a port for each node, there is a second way in: whoever comes by `listening` is told to come back by these ports, on
    which somebody else must listen and pass on to `listening`.

    A broker that is not `long_lived` is compiled once and quickly: the compiler for the long run takes half of what a broker uses in
    its first minutes. Benchmarks want it.
    """

    def __init__(self, nodes: int = 1, advertised: Sequence[int] = (), long_lived: bool = False) -> None:
        classpath = f"{jars()}/*"
        self._java = [
            java(),
            HEAP,
            *([] if long_lived else [QUICK]),
            "-cp",
            classpath,
            f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}",
        ]
        self._directory = tempfile.TemporaryDirectory(prefix="cartstream-kafka-")
        self._homes = [Path(self._directory.name) / str(node) for node in range(1, nodes + 1)]
        self._cluster_id = new_cluster_id()
        self._processes: list[subprocess.Popen[bytes]] = []
        ports = [free_port() for _ in self._homes]
        self.address = ",".join(f"{HOST}:{port}" for port in ports)
        self.listening = [free_port() for _ in advertised]
        self._advertised = list(advertised)
        self._configure(ports, [free_port() for _ in self._homes])

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(process.pid for process in self._processes)

    @property
    def logs(self) -> tuple[Path, ...]:
        """By node id."""
        return tuple(home / LOG_FILE for home in self._homes)

    def start(self) -> None:
        self._format()
        self._processes = [self._launch(home) for home in self._homes]
        try:
            wait_for_brokers(self.address, len(self._homes), self._cluster_id, self._raise_if_ended)
        except BaseException:
            self.stop()
            raise

    def start_node(self, node: int) -> None:
        """Again, after its process has ended. Returns once it has all records, so that another may go; not before.

        Among several it starts when the others have missed it: before, it would be taken for the one that has gone.
        """
        if len(self._homes) > 1:
            wait_until_missed(self.address, node)
        self._processes[node - 1] = self._launch(self._homes[node - 1])
        wait_for_brokers(self.address, len(self._homes), self._cluster_id, self._raise_if_ended)
        wait_until_in_sync(self.address, self._raise_if_ended)

    def kill_node(self, node: int) -> None:
        """SIGKILL; returns when it is gone."""
        self._processes[node - 1].kill()
        self._processes[node - 1].wait()

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            end(process, STOP_SECONDS)
        self._processes = []

    def close(self) -> None:
        """Nothing is kept, so nobody is asked to end in good order: nodes that miss one of them take seconds for it."""
        for process in self._processes:
            process.kill()
        self.stop()
        self._directory.cleanup()

    def _configure(self, ports: list[int], controller_ports: list[int]) -> None:
        voters = ",".join(f"{node}@{HOST}:{port}" for node, port in enumerate(controller_ports, 1))
        for node, home in enumerate(self._homes, 1):
            port, controller_port = ports[node - 1], controller_ports[node - 1]
            listeners, told = [f"PLAINTEXT://{HOST}:{port}"], [f"PLAINTEXT://{HOST}:{port}"]
            if self._advertised:
                listeners.append(f"PROXIED://{HOST}:{self.listening[node - 1]}")
                told.append(f"PROXIED://{HOST}:{self._advertised[node - 1]}")
            settings = broker_settings(len(self._homes)) | {
                "node.id": str(node),
                "controller.quorum.voters": voters,
                "listeners": ",".join([*listeners, f"CONTROLLER://{HOST}:{controller_port}"]),
                "advertised.listeners": ",".join(told),
                "log.dirs": str(home / "records"),
            }
            home.mkdir()
            lines = [f"{name}={setting}\n" for name, setting in settings.items()]
            (home / "server.properties").write_text("".join(lines))

    def _format(self) -> None:
        """The nodes that have no records yet, side by side."""
        tool = [*self._java, "kafka.tools.StorageTool", "format", "--cluster-id", self._cluster_id, "--config"]
        new = [str(home / "server.properties") for home in self._homes if not (home / "records").exists()]
        formatting = [subprocess.Popen([*tool, properties], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for properties in new]
        said = [process.communicate()[0].decode(errors="replace") for process in formatting]
        for process, words in zip(formatting, said, strict=True):
            if process.returncode:
                raise RuntimeError(f"Kafka's storage tool ended with {process.returncode}:\n{words}")

    def _launch(self, home: Path) -> subprocess.Popen[bytes]:
        properties = str(home / "server.properties")
        with (home / LOG_FILE).open("ab") as log:
            return subprocess.Popen(
                [*self._java, "kafka.Kafka", properties],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A Ctrl-C in the terminal is for the tests, which then stop the broker.
                start_new_session=True,
            )

    def _raise_if_ended(self) -> None:
        for home, process in zip(self._homes, self._processes, strict=True):
            if process.poll() is not None:
                tail = "\n".join((home / LOG_FILE).read_text(errors="replace").splitlines()[-15:])
                raise RuntimeError(f"Kafka node {home.name} ended with {process.returncode}:\n{tail}")
