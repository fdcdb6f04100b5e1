"""From raw to numbers."""
