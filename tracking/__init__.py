"""What is known and where it is kept: the fold, the store, the feed, settings and errors."""
