"""Providers to try against: they take messages over the network as the real ones do, count and keep them, and fail when told to."""
