"""The worker process: exchanges messages with the hub and runs inputs."""
