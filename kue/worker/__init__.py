"""Reserve, execute, acknowledge; and what any worker does for all: promote, time out, rescue."""
