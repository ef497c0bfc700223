"""What the api says of itself."""
