"""The hub: one process that schedules calls on workers and stores durable state. It never decodes a payload."""
