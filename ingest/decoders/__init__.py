"""Foreign payload formats, one module each, chosen by topic filter."""
