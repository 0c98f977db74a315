"""What people do to jobs on the pages."""
