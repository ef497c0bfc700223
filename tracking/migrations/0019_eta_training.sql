-- Which trips and legs are new to learn from is asked every minute, by cursor.
CREATE INDEX event_driven ON event (tenant_id, cursor)
    WHERE type IN ('trip.ended', 'stop.arrived');

-- A program that is older than a version passes it by.
ALTER TABLE eta_model ADD COLUMN format integer NOT NULL DEFAULT 1;
