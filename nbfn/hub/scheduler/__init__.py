"""The hub's state machine: ``process(event, now) -> effects``. It uses no clock, socket, thread or disk."""
