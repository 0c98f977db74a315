"""What this process counts."""
