"""A child process: run a handler's attempts for the worker."""
