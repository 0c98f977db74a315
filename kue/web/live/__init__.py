"""Socket.IO: the relay of changes, the events that clients send."""
