"""Values as people read them: in words, and without secrets. Pure."""
