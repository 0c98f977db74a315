"""Process management: signals, supervisor, logging, file descriptors, process titles."""
