"""The values that decorators declare: options, parameters, resources, retries, schedules and images. No I/O."""
