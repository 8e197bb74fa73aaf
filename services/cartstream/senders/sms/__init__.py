"""SMS over a Twilio-compatible HTTP API."""
