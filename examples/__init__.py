"""Three services that keep their own state beside Waymark's. README.md teaches by them."""
