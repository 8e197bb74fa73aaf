"""Benchmarks on real Kafka and Redis: `make bench [NAMES="identity sessions …"]`, one JSON line each."""
