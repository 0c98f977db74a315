"""How a queue is stored in Redis: keys, fields, scripts. Independent of Job objects."""
