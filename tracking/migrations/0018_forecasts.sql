-- What a look at a shipment was based on: the device that carried it and its fix. Without a device
-- nobody carries it and nothing is expected; without a fix it is to be looked at in any case.
ALTER TABLE shipment_eta ADD COLUMN device_id bigint;
ALTER TABLE shipment_eta ADD COLUMN fix_time timestamptz;
-- How long to the next look while nothing is new.
ALTER TABLE shipment_eta ADD COLUMN every_s real NOT NULL DEFAULT 10;

-- The check of a key locks the shipment, which whoever derives it holds while it waits for the row
-- of its estimate: the two would wait for each other. Shipments are never deleted.
ALTER TABLE eta_forecast DROP CONSTRAINT eta_forecast_shipment_number_fkey;

-- A shipment that cannot be derived is left alone until then, so that the others are not.
ALTER TABLE shipment ADD COLUMN held_until timestamptz;

INSERT INTO shipment_eta (shipment_number, tenant_id, next_at)
SELECT number, tenant_id, '-infinity' FROM shipment WHERE status NOT IN ('delivered', 'cancelled');
