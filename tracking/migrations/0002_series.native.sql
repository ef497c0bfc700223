-- The time series as native range partitions of one day, where TimescaleDB is absent.
-- Rows of a day that has no partition yet wait in the default partition; `series_attach_day`
-- moves them, so no write ever needs DDL.

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
) PARTITION BY RANGE (fix_time);
CREATE TABLE position_default PARTITION OF position DEFAULT;

CREATE TABLE measurement (
    device_id   bigint NOT NULL,
    fix_time    timestamptz NOT NULL,
    metric      text NOT NULL,
    tenant_id   integer NOT NULL,
    received_at timestamptz NOT NULL,
    value       double precision NOT NULL,
    UNIQUE (device_id, fix_time, metric)
) PARTITION BY RANGE (fix_time);
CREATE TABLE measurement_default PARTITION OF measurement DEFAULT;

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
) PARTITION BY RANGE (fix_time);
CREATE TABLE tag_read_default PARTITION OF tag_read DEFAULT;

-- Give one UTC day of `series` its partition and move what waited in the default one. Idempotent.
CREATE FUNCTION series_attach_day(series text, day date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    part text := format('%s_%s', series, to_char(day, 'YYYYMMDD'));
    lower_bound timestamptz := day::timestamp AT TIME ZONE 'UTC';
    upper_bound timestamptz := (day + 1)::timestamp AT TIME ZONE 'UTC';
BEGIN
    IF to_regclass(part) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- The default partition may not gain a row of this day between the move and the attach.
    EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', series);
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', part, series);
    EXECUTE format(
        'WITH moved AS (DELETE FROM %I WHERE fix_time >= $1 AND fix_time < $2 RETURNING *) '
        'INSERT INTO %I SELECT * FROM moved', series || '_default', part)
        USING lower_bound, upper_bound;
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   series, part, lower_bound, upper_bound);
    RETURN true;
END $$;

-- Drop every partition of `series` that ends at or before `horizon`, and the default's rows there.
CREATE FUNCTION series_drop_before(series text, horizon timestamptz) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    part regclass;
    dropped integer := 0;
BEGIN
    FOR part IN
        SELECT c.oid::regclass FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = series::regclass AND c.relname ~ ('^' || series || '_[0-9]{8}$')
          AND (to_date(right(c.relname, 8), 'YYYYMMDD') + 1)::timestamp AT TIME ZONE 'UTC' <= horizon
    LOOP
        EXECUTE format('DROP TABLE %s', part);
        dropped := dropped + 1;
    END LOOP;
    EXECUTE format('DELETE FROM %I WHERE fix_time < $1', series || '_default') USING horizon;
    RETURN dropped;
END $$;

CREATE VIEW measurement_hourly AS
SELECT device_id, metric, date_trunc('hour', fix_time, 'UTC') AS bucket, min(tenant_id) AS tenant_id,
       count(*) AS n, avg(value) AS mean, min(value) AS low, max(value) AS high
FROM measurement GROUP BY 1, 2, 3;
