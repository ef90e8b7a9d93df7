"""Options, parameters, resources, retries, schedules and images that decorators declare. The package does no I/O."""
