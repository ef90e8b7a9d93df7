"""What a notebook shows of one call: one that a cell waits for, and one that was spawned."""
