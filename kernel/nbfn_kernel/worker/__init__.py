"""The worker process: talks to the hub and runs inputs."""
