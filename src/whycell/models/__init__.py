"""What can be learned, and how."""
