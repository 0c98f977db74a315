"""The priority job queue of Node's Kue, on Redis, for Python."""
