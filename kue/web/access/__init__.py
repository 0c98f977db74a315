"""Authentication, authorization, sessions and the audit log."""
