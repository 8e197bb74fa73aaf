"""The pipeline on one machine: simulated shoppers, or a file of events, played through every service to fake providers, and judged."""
