"""Reserve, execute, acknowledge; and maintenance: promote, time out, rescue."""
