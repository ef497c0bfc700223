"""Unit tests of waymark.replay."""
