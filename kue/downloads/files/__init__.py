"""The file on the disk: its name, its partial file, digests, free space."""
