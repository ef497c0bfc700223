"""Recordings through MQTT into the normal data path: GPX, GeoJSON, CSV and OwnTracks `.rec`.

Every row of a file ends in exactly one of two places: published as messages, or skipped under a
named reason with its row number. What a `pos` message can carry, even a fault, is published, so
that the server's ledger names the fault and keeps the bytes. Nothing here writes to a database.
"""
