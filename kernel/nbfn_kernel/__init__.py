"""The worker kernel: a process that runs inputs of one Function. Knows the wire, never the client or the hub."""
