"""What all routes have in common, each by one mechanism."""
