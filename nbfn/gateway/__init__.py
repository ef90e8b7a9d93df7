"""The gateway: serves web endpoints over HTTP and WebSocket. It is a client of the hub, which starts it."""
