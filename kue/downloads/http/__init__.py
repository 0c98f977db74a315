"""One request to a foreign server: checked addresses, patience, redirects, ranges."""
