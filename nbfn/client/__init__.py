"""The client: the connection to the hub, the calls in progress and the registration of Functions."""
