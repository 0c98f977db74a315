"""The embedded Valkey: a server that starts and ends with its users."""
