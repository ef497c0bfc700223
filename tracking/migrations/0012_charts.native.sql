-- What charts of hours and days are made of, as measurement_hourly.
CREATE VIEW position_hourly AS
SELECT device_id, date_trunc('hour', fix_time, 'UTC') AS bucket, min(tenant_id) AS tenant_id,
       count(speed_mps) AS speed_n, avg(speed_mps) AS speed_mean, min(speed_mps) AS speed_low,
       max(speed_mps) AS speed_high, count(battery) AS battery_n, avg(battery) AS battery_mean,
       min(battery) AS battery_low, max(battery) AS battery_high
FROM position WHERE quality = 0 GROUP BY 1, 2;
SELECT guard_table('position_hourly', 'SELECT');
