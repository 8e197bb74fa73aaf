"""Replay: the whole pipeline on recorded events, without broker or Redis, on event time alone."""
