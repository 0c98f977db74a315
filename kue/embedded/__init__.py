"""The embedded Valkey: a server that starts and stops with its users."""
