"""The protocol between processes: messages, their encoding and the ZeroMQ transport."""
