"""What two processes must agree on: messages, frames, payloads, sockets. No policy."""
