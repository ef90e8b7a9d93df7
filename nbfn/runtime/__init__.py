"""Support code of every process: blocking and async forms of methods, tracebacks, console output and log files."""
