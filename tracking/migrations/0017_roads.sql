-- Ways by road as a provider told them, kept so that it is asked seldom. Derived and forgettable.
CREATE TABLE road_path (
    tenant_id       integer NOT NULL REFERENCES tenant,
    name            text NOT NULL,   -- tracking.store.road_paths says of what
    shipment_number bigint REFERENCES shipment, -- NULL: from place to place, for whoever goes there
    not_before      timestamptz NOT NULL,       -- nobody asks again before that
    made_at         timestamptz,     -- NULL with points: not known yet, or there is no way
    points          bytea,           -- float64, little-endian: lon, lat, lon, lat, ...
    PRIMARY KEY (tenant_id, name)
);
CREATE INDEX road_path_shipment ON road_path (shipment_number);
CREATE INDEX road_path_not_before ON road_path (not_before);
SELECT guard_table('road_path', 'SELECT, DELETE');
