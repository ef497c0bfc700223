"""Planned ways: their geometry in metres, and how what is carried follows them. Pure."""
