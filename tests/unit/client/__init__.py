"""The client's pure parts."""
