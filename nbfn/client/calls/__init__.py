"""Calls in progress at the client: sends inputs, receives outcomes, retries and detaches."""
