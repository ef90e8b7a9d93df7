"""Displays of Functions and classes: signature, documentation, pool, and a form to call them."""
