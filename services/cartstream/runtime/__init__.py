"""How any service runs: the partition loop, the commit protocol, clocks and timers, dead letters, health, metrics, settings."""
