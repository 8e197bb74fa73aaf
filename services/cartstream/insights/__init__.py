"""Insights: what became of the signals, by channel and journey, in windows of event time. Nothing else depends on it."""
