"""All services of one machine as processes: `cartstream up`, and the supervisor that the demo and the tests use."""
