"""The only way into a service: its queue. Reading, retrying and giving up are the same for all four services."""
