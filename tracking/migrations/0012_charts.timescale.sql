-- What charts of hours and days are made of, as measurement_hourly.
CREATE MATERIALIZED VIEW position_hourly WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT device_id, time_bucket(interval '1 hour', fix_time) AS bucket, min(tenant_id) AS tenant_id,
       count(speed_mps) AS speed_n, avg(speed_mps) AS speed_mean, min(speed_mps) AS speed_low,
       max(speed_mps) AS speed_high, count(battery) AS battery_n, avg(battery) AS battery_mean,
       min(battery) AS battery_low, max(battery) AS battery_high
FROM position WHERE quality = 0 GROUP BY 1, 2 WITH NO DATA;
SELECT guard_table('position_hourly', 'SELECT');

-- Without a beginning: what a backfill or a repair changes long ago is refreshed too. Only what
-- changed is, so this costs nothing where nothing did.
SELECT remove_continuous_aggregate_policy('measurement_hourly');
SELECT add_continuous_aggregate_policy('measurement_hourly', start_offset => NULL,
    end_offset => interval '1 hour', schedule_interval => interval '15 minutes');
SELECT add_continuous_aggregate_policy('position_hourly', start_offset => NULL,
    end_offset => interval '1 hour', schedule_interval => interval '15 minutes');
