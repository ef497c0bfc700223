-- Fences: each edit is a version that holds from a moment of device time on; none is ever changed
-- or removed, so that events can be explained and history folded again as it was.

-- Raised by every edit of a fence, under the tenant's row lock; a worker whose fences are older
-- than this loads the versions recorded since.
ALTER TABLE tenant ADD COLUMN fence_revision bigint NOT NULL DEFAULT 0;

ALTER TABLE device ADD COLUMN groups text[] NOT NULL DEFAULT '{}';
ALTER TABLE device ADD COLUMN tags text[] NOT NULL DEFAULT '{}';

CREATE TABLE fence (
    number     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id  integer NOT NULL REFERENCES tenant,
    -- The public name: chosen by the caller or generated. Part of the ids of the fence's events.
    id         text NOT NULL CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$'),
    version    integer NOT NULL,     -- the latest
    since      timestamptz NOT NULL, -- device time: where its first version starts
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,          -- soft: its versions stay
    UNIQUE (tenant_id, id)
);

CREATE TABLE fence_version (
    fence_number bigint NOT NULL REFERENCES fence,
    version      integer NOT NULL,
    tenant_id    integer NOT NULL,
    revision     bigint NOT NULL,     -- the tenant's, when this row was last written
    -- Device time; the last version of a deleted fence ends with it.
    valid_from   timestamptz NOT NULL,
    valid_to     timestamptz,
    recorded_at  timestamptz NOT NULL DEFAULT now(),
    recorded_by  text,                -- the name of the API key
    revised_at   timestamptz NOT NULL DEFAULT now(), -- when this row was last written
    digest       bytea NOT NULL,      -- of all that makes an edit an edit
    name         text NOT NULL,
    shape        jsonb NOT NULL,      -- as given: GeoJSON with its options of shape
    options      jsonb NOT NULL,      -- tracking.fences.FenceOptions
    attrs        jsonb NOT NULL DEFAULT '{}',
    notes        text[] NOT NULL DEFAULT '{}', -- what was repaired in the shape, and where
    -- The normal form the engine compiles: kind, well-known binary, metres.
    kind         text NOT NULL CHECK (kind IN ('polygon', 'circle', 'corridor', 'cells')),
    geometry     bytea NOT NULL,
    radius_m     double precision NOT NULL,
    -- Bounds in degrees, unwrapped: max_lon may exceed 180.
    min_lon      double precision NOT NULL,
    min_lat      double precision NOT NULL,
    max_lon      double precision NOT NULL,
    max_lat      double precision NOT NULL,
    PRIMARY KEY (fence_number, version)
);
CREATE INDEX fence_version_revision ON fence_version (tenant_id, revision);

-- Where a device is among the fences: tracking.fold.presence. NULL: near none.
ALTER TABLE device_state ADD COLUMN presences bytea;
ALTER TABLE checkpoint ADD COLUMN presences bytea;

-- What besides tenant, subject, type and time is part of an event's id: the fence or the rule.
ALTER TABLE event ADD COLUMN rule text;
CREATE INDEX event_rule ON event (tenant_id, rule, time) WHERE rule IS NOT NULL;

-- `ingest_state` of migration 0004, and what lies around the device.
CREATE TYPE ingest_state_2 AS (
    device_id   bigint,
    version     bigint,
    fold        bytea,
    motion      smallint,
    odometer_m  double precision,
    missing_seq bigint,
    heard_at    timestamptz,
    received    bigint,
    stored      bigint,
    duplicate   bigint,
    conflict    bigint,
    late        bigint,
    fix_time    timestamptz,
    seq         bigint,
    received_at timestamptz,
    lon         double precision,
    lat         double precision,
    alt_m       real, -- NaN where missing, as the next four
    speed_mps   real,
    course_deg  real,
    accuracy_m  real,
    battery     real,
    h3          bigint,
    attrs       text,
    presences   bytea
);

CREATE TYPE ingest_event AS (
    id            uuid,
    cursor        bigint,
    device_id     bigint, -- -1 for none
    time          timestamptz,
    confirmed_at  timestamptz, -- the epoch for events the fold did not raise
    confirmed_seq bigint,
    revision      integer,
    late          boolean,
    type          text,
    subject       text,
    status        text,
    data          text,
    rule          text
);
