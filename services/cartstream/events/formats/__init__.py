"""Input formats: what a retailer's clickstream may be written in, as native (Segment-spec) events."""
