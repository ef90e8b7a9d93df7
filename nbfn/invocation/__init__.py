"""Calls under way, as the caller has them: inputs that go out, outcomes that come back, what is kept of both."""
