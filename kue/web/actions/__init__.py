"""Actions on jobs from the pages."""
