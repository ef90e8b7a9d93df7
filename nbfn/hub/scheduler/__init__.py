"""The state machine of the hub: ``process(event, now) -> effects``. It decides; no clock, socket, thread or disk."""
