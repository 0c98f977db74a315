"""How a queue lies in Redis: keys, fields, scripts. Knows nothing of jobs as objects."""
