"""Every SQL statement, a module per noun. Nothing above knows whether TimescaleDB is there."""
