"""HTTP requests to untrusted servers: address checks, timeouts, redirects, ranges."""
