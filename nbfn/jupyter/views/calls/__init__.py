"""Displays of calls: their output, and the handles of spawned calls."""
