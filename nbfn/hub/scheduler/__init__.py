"""The state machine of the hub: ``handle(event, now) -> effects``. It decides; no clock, socket, thread or disk."""
