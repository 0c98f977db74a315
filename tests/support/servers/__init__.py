"""Servers of tests: Valkeys that fail, clusters, a TCP proxy that cuts connections, reverse proxies."""
