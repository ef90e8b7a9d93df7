"""The gateway: HTTP and WebSocket for web endpoints. A client of the hub like any other, started by it."""
