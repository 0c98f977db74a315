"""Files on disk: names, partial files, digests, free space."""
