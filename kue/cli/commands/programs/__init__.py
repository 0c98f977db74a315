"""Commands that run until they are stopped, or have downloaded their files."""
