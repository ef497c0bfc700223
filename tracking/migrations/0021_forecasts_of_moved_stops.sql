-- Whoever puts a stop elsewhere takes the forecasts of it away: they were of another place.
DO $$ BEGIN
    IF to_regrole('waymark_api') IS NOT NULL THEN
        GRANT DELETE ON eta_forecast TO waymark_api;
    END IF;
END $$;
