-- The time series as hypertables of one-day chunks.
CREATE EXTENSION IF NOT EXISTS timescaledb;

CREATE TABLE position (
    device_id   bigint NOT NULL,
    fix_time    timestamptz NOT NULL,
    seq         bigint NOT NULL, -- -1 where the device gives none
    tenant_id   integer NOT NULL,
    received_at timestamptz NOT NULL,
    lon         double precision NOT NULL,
    lat         double precision NOT NULL,
    alt_m       real,
    speed_mps   real,
    course_deg  real,
    accuracy_m  real,
    battery     real,
    quality     smallint NOT NULL,
    h3          bigint NOT NULL,
    content     bigint NOT NULL, -- hash of the reading; the greater wins where two share a key
    attrs       jsonb,
    UNIQUE (device_id, fix_time, seq)
);
SELECT create_hypertable('position', 'fix_time', chunk_time_interval => interval '1 day', create_default_indexes => false);
ALTER TABLE position SET (timescaledb.compress, timescaledb.compress_segmentby = 'device_id', timescaledb.compress_orderby = 'fix_time, seq');

CREATE TABLE measurement (
    device_id   bigint NOT NULL,
    fix_time    timestamptz NOT NULL,
    metric      text NOT NULL,
    tenant_id   integer NOT NULL,
    received_at timestamptz NOT NULL,
    value       double precision NOT NULL,
    UNIQUE (device_id, fix_time, metric)
);
SELECT create_hypertable('measurement', 'fix_time', chunk_time_interval => interval '1 day', create_default_indexes => false);
ALTER TABLE measurement SET (timescaledb.compress, timescaledb.compress_segmentby = 'device_id, metric', timescaledb.compress_orderby = 'fix_time');

CREATE TABLE tag_read (
    device_id   bigint NOT NULL,
    fix_time    timestamptz NOT NULL,
    epc         text NOT NULL,
    antenna     integer NOT NULL, -- -1 where the reader names none
    tenant_id   integer NOT NULL,
    received_at timestamptz NOT NULL,
    rssi_dbm    real,
    count       integer NOT NULL DEFAULT 1,
    UNIQUE (device_id, fix_time, epc, antenna)
);
SELECT create_hypertable('tag_read', 'fix_time', chunk_time_interval => interval '1 day', create_default_indexes => false);
ALTER TABLE tag_read SET (timescaledb.compress, timescaledb.compress_segmentby = 'device_id', timescaledb.compress_orderby = 'fix_time');

-- Chunks make themselves here; the two functions keep the callers of the native flavour honest.
CREATE FUNCTION series_attach_day(series text, day date) RETURNS boolean LANGUAGE sql AS 'SELECT false';

CREATE FUNCTION series_drop_before(series text, horizon timestamptz) RETURNS integer LANGUAGE sql AS
    'SELECT count(*)::integer FROM drop_chunks(series::regclass, older_than => horizon)';

CREATE MATERIALIZED VIEW measurement_hourly WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT device_id, metric, time_bucket(interval '1 hour', fix_time) AS bucket, min(tenant_id) AS tenant_id,
       count(*) AS n, avg(value) AS mean, min(value) AS low, max(value) AS high
FROM measurement GROUP BY 1, 2, 3 WITH NO DATA;
SELECT add_continuous_aggregate_policy('measurement_hourly', start_offset => interval '4 days',
    end_offset => interval '1 hour', schedule_interval => interval '15 minutes');
