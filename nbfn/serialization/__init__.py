"""Serialization: pickles functions, classes, arguments and exceptions, and places payloads in shared memory."""
