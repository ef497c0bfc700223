"""The live feed: who wants what, who gets it, and how it is carried."""
