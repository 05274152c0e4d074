"""Training runs of the tasks: callbacks, loggers, run folders and fitting stages."""
