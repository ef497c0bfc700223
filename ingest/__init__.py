"""The ingest worker: MQTT in, one transaction per batch, PUBACK after commit."""
