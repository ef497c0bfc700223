"""Geofences: shapes, index and engine. Pure and synchronous: no clock, no I/O."""
