"""Servers as child processes: a port for them, and their end."""

from __future__ import annotations

import random
import socket
import subprocess
import threading
from collections import deque

HOST = "127.0.0.1"
# Below what systems hand out to outgoing connections: there a client that keeps trying the port of a stopped server
# can, by chance, be given that very port, connect to itself, and keep the server from starting again.
PORTS = range(20_000, 32_000)
STOP_SECONDS = 10.0
# Who is given a port listens on it a little later: until then nobody else in this process may be given it.
_promised: deque[int] = deque(maxlen=2_000)
_promising = threading.Lock()


def free_port() -> int:
    """A loopback TCP port that nobody listens on now. Another process may take it first: be ready to ask again.

    Any thread. The last two thousand that this process was given are not given again.
    """
    while True:
        port = random.choice(PORTS)
        with _promising:
            if port in _promised:
                continue
            _promised.append(port)
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) != 0:
                return port


def ended_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait that long for a child to end, and say whether it has."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def end(process: subprocess.Popen[bytes], patience_seconds: float = STOP_SECONDS) -> None:
    """Ask a child to end, wait for it, and kill it if it will not. A child that has ended is only reaped."""
    process.terminate()
    if not ended_within(process, patience_seconds):
        process.kill()
        process.wait()
