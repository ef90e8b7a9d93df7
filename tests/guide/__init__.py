"""Tests that show how nbfn is used, with real processes; each test shows one feature."""
