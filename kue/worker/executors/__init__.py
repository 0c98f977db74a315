"""What runs attempts: threads, tasks of an event loop, or child processes."""
