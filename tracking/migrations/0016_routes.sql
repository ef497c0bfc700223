-- How shipments follow their planned routes, and what wakes their derivation beside fences.

-- One row for each shipment with a route from when it was picked up. `open` while fixes are to come.
-- No column that each look changes is indexed, and a part of each page is free, so updates stay HOT.
CREATE TABLE shipment_route (
    shipment_number bigint PRIMARY KEY REFERENCES shipment,
    tenant_id       integer NOT NULL,
    way             text NOT NULL,        -- digest of the plan's route that is followed
    course          bytea NOT NULL,       -- tracking.route.course.Course without its parts
    rewind_at       timestamptz,          -- a fix at or behind it became known, or other, late
    next_at         timestamptz NOT NULL DEFAULT now(),
    open            boolean NOT NULL DEFAULT true,
    -- As of the last look that had read all there was.
    progress        jsonb,                -- tracking.route.follow.Progress
    transitions     jsonb NOT NULL DEFAULT '[]'
) WITH (fillfactor = 60);
CREATE INDEX shipment_route_open ON shipment_route (shipment_number) WHERE open;

-- Who carried it when, and up to which fix each was followed: tracking.route.course.Part.
CREATE TABLE shipment_route_part (
    shipment_number bigint NOT NULL REFERENCES shipment_route ON DELETE CASCADE,
    n               integer NOT NULL,
    tenant_id       integer NOT NULL,
    device_id       bigint NOT NULL,
    starts          timestamptz NOT NULL,
    ends            timestamptz NOT NULL,
    seen_at         timestamptz NOT NULL,
    seen_seq        bigint NOT NULL,
    PRIMARY KEY (shipment_number, n)
) WITH (fillfactor = 60);
CREATE INDEX shipment_route_part_device ON shipment_route_part (device_id);

-- A device that starts or stops concerns what it carries now, of thousands it may have carried.
CREATE INDEX shipment_devices_under_way ON shipment USING gin (devices)
    WHERE status NOT IN ('planned', 'delivered', 'cancelled');

-- Whether a device is folded again for fixes that were not there before, and so what follows them too.
ALTER TABLE repair ADD COLUMN fixes boolean NOT NULL DEFAULT true;

SELECT guard_table('shipment_route');
SELECT guard_table('shipment_route_part');
