"""A network that can be disturbed: proxies between a client and a server, on this machine."""

from tests.support.toxiproxy.proxies import Proxy, Toxiproxy

__all__ = ["Proxy", "Toxiproxy"]
