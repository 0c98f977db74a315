"""The web server: connections, framing, bodies."""
