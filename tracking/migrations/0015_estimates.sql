-- Forecasts of shipments, what they are made with, and how they turned out.

-- A tenant's forecaster as it was learned, a row per version; the highest is used unless one is
-- `pinned`. `upto` is the cursor of the last event learned from.
CREATE TABLE eta_model (
    tenant_id  integer NOT NULL REFERENCES tenant,
    version    integer NOT NULL,
    made_at    timestamptz NOT NULL DEFAULT now(),
    made_by    text NOT NULL,             -- train, monitor
    upto       bigint NOT NULL,
    trips      bigint NOT NULL,           -- learned from, all in all
    fixes      bigint NOT NULL,
    pinned     boolean NOT NULL DEFAULT false,
    engine     bytea NOT NULL,            -- tracking.eta.engine.Engine.save
    PRIMARY KEY (tenant_id, version)
);

-- What is expected of a shipment that is under way; one row while there is something to expect.
CREATE TABLE shipment_eta (
    shipment_number bigint PRIMARY KEY REFERENCES shipment,
    tenant_id       integer NOT NULL,
    -- When to look again; a derivation that changes the shipment sets it to now.
    next_at         timestamptz NOT NULL DEFAULT now(),
    estimate        jsonb                      -- tracking.estimates.Estimate; NULL: none yet
);
CREATE INDEX shipment_eta_next ON shipment_eta (next_at);

-- Forecasts as they were made, to be compared with what came. What came is not kept here: it is in
-- the shipment's record, which late events may still change.
CREATE TABLE eta_forecast (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id       integer NOT NULL,
    shipment_number bigint NOT NULL REFERENCES shipment,
    stop            integer NOT NULL,
    made_at         timestamptz NOT NULL,      -- device time: that of the fix it is based on
    p10_at          timestamptz NOT NULL,
    p50_at          timestamptz NOT NULL,
    p90_at          timestamptz NOT NULL,
    prior_at        timestamptz NOT NULL,      -- what plain distance or the plan alone said
    legs            integer NOT NULL,          -- 1: the next stop
    lane            text NOT NULL,             -- names of the stop it came from and of the one it goes to
    local_hour      smallint NOT NULL,         -- of made_at, at the stop
    path            text NOT NULL,             -- route, roads or detour
    model           integer NOT NULL           -- 0: nothing learned yet
);
CREATE INDEX eta_forecast_stop ON eta_forecast (shipment_number, stop, made_at);
CREATE INDEX eta_forecast_made ON eta_forecast (tenant_id, made_at);

SELECT guard_table('eta_model', 'SELECT');
SELECT guard_table('shipment_eta', 'SELECT, INSERT, UPDATE, DELETE');
SELECT guard_table('eta_forecast', 'SELECT');
