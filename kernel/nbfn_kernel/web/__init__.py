"""Web endpoints in a worker: ASGI apps, WSGI apps and local servers. Each input is one HTTP request."""
