-- Which trips and legs are new to learn from is asked every minute, by cursor.
CREATE INDEX event_driven ON event (tenant_id, cursor)
    WHERE type IN ('trip.ended', 'stop.arrived');

-- A program that is older than a version passes it by.
ALTER TABLE eta_model ADD COLUMN format integer NOT NULL DEFAULT 1;

-- When the first version of its line was begun from nothing: what was erased since may be in it.
ALTER TABLE eta_model ADD COLUMN begun_at timestamptz NOT NULL DEFAULT now();
