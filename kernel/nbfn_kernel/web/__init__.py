"""Web endpoints: runs ASGI and WSGI apps and local servers, and answers one HTTP request per input."""
