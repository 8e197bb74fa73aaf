"""The same job on other engines, beside cartstream's own sessions: `make bench-peers`. See docs/peers.md."""
