"""Being a process: signals, descriptors, its title, a supervisor of several."""
