"""One thing, read in and checked; and written."""
