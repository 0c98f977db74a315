"""kue beside its peers: what is asked, of kue alone too, and how it is told."""
