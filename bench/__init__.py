"""Measurements: ``python -m bench --help``. Nothing here is part of the library."""
