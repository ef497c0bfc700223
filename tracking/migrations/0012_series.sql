-- Trips by the time they began, of all devices and of one; they are few among the events.
CREATE INDEX event_trip ON event (tenant_id, time, subject) WHERE type = 'trip.started';
CREATE INDEX event_trip_device ON event (tenant_id, subject, time) WHERE type = 'trip.started';

-- What brought an event about: NULL a device as it went, else 'backfill'. Rules raise no alert for
-- a quiet one. Both are said when the event is first written, and stay.
ALTER TABLE event ADD COLUMN origin text CHECK (origin = 'backfill');
ALTER TABLE event ADD COLUMN quiet boolean NOT NULL DEFAULT false;

-- Up to which fix of the device a backfill is why it waits; events told by fixes up to there are its.
ALTER TABLE repair ADD COLUMN backfill_until timestamptz;
ALTER TABLE repair ADD COLUMN quiet boolean NOT NULL DEFAULT false;

-- Histories brought in by the api or the command line. The monitor works on them, part by part;
-- a part and what became of it are one transaction.
CREATE TABLE backfill (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id   integer NOT NULL REFERENCES tenant,
    state       text NOT NULL DEFAULT 'receiving' CHECK (
        state IN ('receiving', 'queued', 'running', 'done')),
    alerts      boolean NOT NULL, -- whether rules judge its events
    created_at  timestamptz NOT NULL DEFAULT now(),
    created_by  text NOT NULL,    -- the name of the credential
    touched_at  timestamptz NOT NULL DEFAULT now(),
    started_at  timestamptz,
    finished_at timestamptz,
    digest      bytea,            -- of all of it, once received: the same twice is one
    lines       bigint NOT NULL DEFAULT 0,
    done_lines  bigint NOT NULL DEFAULT 0,
    readings    bigint NOT NULL DEFAULT 0,
    stored      bigint NOT NULL DEFAULT 0,
    duplicate   bigint NOT NULL DEFAULT 0, -- readings that were there, or lost to another of their key
    rejected    bigint NOT NULL DEFAULT 0,
    events      bigint NOT NULL DEFAULT 0, -- at once; repairs tell more
    reasons     jsonb NOT NULL DEFAULT '{}', -- reason -> how many
    refused     jsonb NOT NULL DEFAULT '[]'  -- the first of them, with their lines
);
CREATE UNIQUE INDEX backfill_digest ON backfill (tenant_id, digest) WHERE digest IS NOT NULL;
CREATE INDEX backfill_list ON backfill (tenant_id, created_at, id);
CREATE INDEX backfill_waiting ON backfill (touched_at) WHERE state <> 'done';

CREATE TABLE backfill_part (
    backfill_id uuid NOT NULL REFERENCES backfill ON DELETE CASCADE,
    number      integer NOT NULL,
    tenant_id   integer NOT NULL,
    first_line  bigint NOT NULL, -- from 1
    payload     bytea NOT NULL,  -- whole lines
    PRIMARY KEY (backfill_id, number)
);

SELECT guard_table('backfill');
SELECT guard_table('backfill_part');
SELECT audit_table('backfill', 'backfills', ignored => '{touched_at,lines,state,digest}');
