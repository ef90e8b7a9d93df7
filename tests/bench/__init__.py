"""What nbfn costs, side by side with its peers: ``python -m tests.bench``. Measurements, not tests: they never fail."""
