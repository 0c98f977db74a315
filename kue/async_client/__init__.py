"""``kue/client`` on an event loop: jobs with awaitable methods, their connections, producer and events."""
