-- What ingest hands over, as arrays of rows. One array of rows costs the server 1.3 us a row where
-- an array per column costs 3.1: each of those gets a tuplestore of its own.

CREATE TYPE ingest_position AS (
    device_id   bigint,
    tenant_id   integer,
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
    quality     smallint,
    h3          bigint,
    content     bigint,
    attrs       text
);

-- A device's new state, and the new latest fix of one that moved (else of no meaning).
CREATE TYPE ingest_state AS (
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
    attrs       text
);
