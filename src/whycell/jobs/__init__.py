"""One whole job, start to finish: what a command runs and a notebook can call."""
