"""What a handler asks of process isolation, and how a child process finds it. See ``child_processes/``."""
