-- Assets, what is attached to what and when, shipments, pickups and share links.

-- Raised by every edit of an attachment; whoever keeps custody in memory is stale below it.
ALTER TABLE tenant ADD COLUMN attachment_revision bigint NOT NULL DEFAULT 0;

-- A key of a shipper, a carrier or a consignee sees the shipments of that party and nothing else.
ALTER TABLE api_key ADD COLUMN party text;

CREATE TABLE asset (
    number     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id  integer NOT NULL REFERENCES tenant,
    id         text NOT NULL CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$'),
    kind       text NOT NULL,
    name       text NOT NULL,
    attrs      jsonb NOT NULL DEFAULT '{}',
    version    integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    updated_by text,
    deleted_at timestamptz, -- soft: its history stays
    UNIQUE (tenant_id, id)
);

CREATE TABLE shipment (
    number      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   integer NOT NULL REFERENCES tenant,
    id          text NOT NULL CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
    version     integer NOT NULL DEFAULT 1, -- of the plan
    plan        jsonb NOT NULL,             -- tracking.shipments.Plan
    -- Of the plan, for filters.
    order_ref   text,
    parties     text[] NOT NULL DEFAULT '{}',
    planned_from timestamptz,
    planned_to  timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    updated_by  text,
    -- Derived from attachments, events and overrides; never typed over.
    status      text NOT NULL DEFAULT 'planned',
    record      jsonb,                      -- tracking.shipments.Record
    devices     bigint[] NOT NULL DEFAULT '{}', -- all that ever carried it
    fence_serial integer NOT NULL DEFAULT 0,    -- of the last fence made for it: none comes again
    dirty       boolean NOT NULL DEFAULT true,  -- something it is derived from has changed
    due_at      timestamptz,                -- when time alone may change it
    UNIQUE (tenant_id, id)
);
CREATE INDEX shipment_order ON shipment (tenant_id, order_ref) WHERE order_ref IS NOT NULL;
CREATE INDEX shipment_status ON shipment (tenant_id, status, number);
CREATE INDEX shipment_parties ON shipment USING gin (parties);
CREATE INDEX shipment_devices ON shipment USING gin (devices);
CREATE INDEX shipment_dirty ON shipment (tenant_id, number) WHERE dirty;
CREATE INDEX shipment_due ON shipment (tenant_id, due_at) WHERE due_at IS NOT NULL;

-- A load is on or in its carrier from `valid_from` until before `valid_to`, in device time.
CREATE TABLE attachment (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id      integer NOT NULL REFERENCES tenant,
    load_kind      text NOT NULL CHECK (load_kind IN ('device', 'asset', 'shipment')),
    load_number    bigint NOT NULL,
    carrier_kind   text NOT NULL CHECK (carrier_kind IN ('device', 'asset')),
    carrier_number bigint NOT NULL,
    load_device    bigint GENERATED ALWAYS AS (CASE load_kind WHEN 'device' THEN load_number END)
                   STORED REFERENCES device ON DELETE CASCADE,
    carrier_device bigint GENERATED ALWAYS AS
                   (CASE carrier_kind WHEN 'device' THEN carrier_number END)
                   STORED REFERENCES device ON DELETE CASCADE,
    valid_from     timestamptz NOT NULL,
    valid_to       timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now(),
    created_by     text,
    updated_at     timestamptz NOT NULL DEFAULT now(),
    updated_by     text,
    removed_at     timestamptz, -- it never was so: a mistake
    CHECK (valid_to > valid_from),
    CHECK (load_kind = 'shipment' OR carrier_kind = 'asset'),
    load_key       bigint NOT NULL GENERATED ALWAYS AS (load_number * 4 +
        CASE load_kind WHEN 'device' THEN 0 WHEN 'asset' THEN 1 ELSE 2 END) STORED,
    -- A load has one carrier at a time. A number as a range of one spares the extension btree_gist,
    -- which the embedded server may lack.
    CONSTRAINT attachment_one_carrier EXCLUDE USING gist (
        int8range(load_key, load_key, '[]') WITH &&, tstzrange(valid_from, valid_to) WITH &&
    ) WHERE (removed_at IS NULL)
);
CREATE INDEX attachment_load ON attachment (load_kind, load_number) WHERE removed_at IS NULL;
CREATE INDEX attachment_carrier ON attachment (carrier_kind, carrier_number)
    WHERE removed_at IS NULL;
CREATE INDEX attachment_tenant ON attachment (tenant_id, id);

-- The fences that tell of a shipment: those its stops name, and those made for it, one for each
-- device that carries it, so that other devices cost nothing.
CREATE TABLE shipment_fence (
    shipment_number bigint NOT NULL REFERENCES shipment,
    tenant_id       integer NOT NULL,
    fence           text NOT NULL,
    ground          integer NOT NULL, -- the first stop that is there
    near            boolean NOT NULL, -- the ring around it
    device          text,             -- NULL: a fence of the tenant's own
    since           timestamptz,
    circle          double precision[], -- lon, lat, metres
    ended           boolean NOT NULL DEFAULT false,
    PRIMARY KEY (shipment_number, fence, ground)
);
CREATE INDEX shipment_fence_fence ON shipment_fence (tenant_id, fence);

-- What people say happened; inputs of the derivation beside events.
CREATE TABLE shipment_override (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shipment_number bigint NOT NULL REFERENCES shipment,
    tenant_id       integer NOT NULL,
    act             text NOT NULL CHECK (act IN ('arrived', 'departed', 'delivered', 'cancelled')),
    stop            integer,
    at              timestamptz NOT NULL,
    note            text,
    proof           jsonb,
    made_by         text,
    made_at         timestamptz NOT NULL DEFAULT now(),
    withdrawn_at    timestamptz,
    withdrawn_by    text
);
CREATE INDEX shipment_override_shipment ON shipment_override (shipment_number);

-- How far a tenant's events have been looked at for its shipments; made with its first one.
CREATE TABLE shipment_cursor (
    tenant_id  integer PRIMARY KEY REFERENCES tenant,
    cursor     bigint NOT NULL,
    visited_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE share_link (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id       integer NOT NULL REFERENCES tenant,
    shipment_number bigint NOT NULL REFERENCES shipment,
    -- SHA-256 of a 256-bit random token, as for keys.
    digest          bytea NOT NULL UNIQUE,
    stop            integer NOT NULL,           -- whose visitors it is for
    stops_away      integer NOT NULL DEFAULT 1, -- how near to it the exact place is shown
    created_at      timestamptz NOT NULL DEFAULT now(),
    created_by      text,
    expires_at      timestamptz NOT NULL,
    revoked_at      timestamptz
);
CREATE INDEX share_link_shipment ON share_link (shipment_number);

-- Requests to pick something up. Each is a stop of a shipment; a series makes one after the other.
CREATE TABLE pickup (
    number          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id       integer NOT NULL REFERENCES tenant,
    id              text NOT NULL CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
    kind            text NOT NULL CHECK (kind IN ('on_demand', 'scheduled', 'recurring')),
    express         boolean NOT NULL DEFAULT false,
    note            text,
    shipment_number bigint REFERENCES shipment, -- NULL: a series
    stop            integer NOT NULL DEFAULT 0,
    series_number   bigint REFERENCES pickup,   -- what made it
    recurrence      jsonb,                      -- of a series: tracking.pickups.Recurrence
    template        jsonb,                      -- of a series: the plan of each of its shipments
    due_at          timestamptz,                -- of a series: when the next is to be made
    failed_at       timestamptz,                -- the last attempt, unless it was rescheduled since
    created_at      timestamptz NOT NULL DEFAULT now(),
    created_by      text,
    cancelled_at    timestamptz,
    cancelled_by    text,
    UNIQUE (tenant_id, id),
    CHECK ((shipment_number IS NULL) = (recurrence IS NOT NULL))
);
CREATE INDEX pickup_shipment ON pickup (shipment_number);
CREATE INDEX pickup_due ON pickup (tenant_id, due_at) WHERE due_at IS NOT NULL;

CREATE TABLE pickup_attempt (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id     integer NOT NULL,
    pickup_number bigint NOT NULL REFERENCES pickup,
    at            timestamptz NOT NULL,
    reason        text NOT NULL,
    note          text,
    made_by       text,
    made_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX pickup_attempt_pickup ON pickup_attempt (pickup_number);

SELECT guard_table('asset', 'SELECT, INSERT, UPDATE');
SELECT guard_table('attachment', 'SELECT, INSERT, UPDATE');
SELECT guard_table('shipment', 'SELECT, INSERT, UPDATE');
SELECT guard_table('shipment_fence');
SELECT guard_table('shipment_override', 'SELECT, INSERT, UPDATE');
SELECT guard_table('shipment_cursor', 'SELECT, INSERT, UPDATE');
SELECT guard_table('share_link', 'SELECT, INSERT, UPDATE');
SELECT audit_table('asset', 'assets');
SELECT audit_table('attachment', 'attachments');
-- What is derived is no act of whoever made it so.
SELECT audit_table('shipment', 'shipments', ignored => '{status,record,devices,fence_serial,dirty,due_at}');
SELECT audit_table('shipment_override', 'shipments',
    '(SELECT s.id FROM shipment s WHERE s.number = r.shipment_number)');
SELECT guard_table('pickup', 'SELECT, INSERT, UPDATE');
SELECT guard_table('pickup_attempt', 'SELECT, INSERT');
SELECT audit_table('pickup', 'pickups', ignored => '{due_at}');
SELECT audit_table('pickup_attempt', 'pickups',
    '(SELECT p.id FROM pickup p WHERE p.number = r.pickup_number)');
SELECT audit_table('share_link', 'share-links', secret => '{digest}');
