"""What the questions share: who is measured and where, the server, the processes, one step at a time, profiles."""
