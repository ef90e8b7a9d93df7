"""Where worker processes come from: one file for each kind of place. Knows nothing of calls."""
