"""Who is let in and may do what."""
