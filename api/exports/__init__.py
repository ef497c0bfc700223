"""Whole histories as files: batches of rows, the formats they are written in, and the answer."""
