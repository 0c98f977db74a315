"""What the settings are made of: parsers, options by subject, the file with the monitor's users."""
