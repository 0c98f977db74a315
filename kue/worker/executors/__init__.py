"""What runs attempts: threads of the engine's kind."""
