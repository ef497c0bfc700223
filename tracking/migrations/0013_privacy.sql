-- Privacy: what is to be erased, and how long each tenant keeps what.

-- A device is gone from every answer with the transaction that asks; what it left behind is removed
-- by the monitor, which notes how far it got.
CREATE TABLE erasure (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    number       bigint GENERATED ALWAYS AS IDENTITY UNIQUE, -- the order of lists
    tenant_id    integer NOT NULL REFERENCES tenant,
    kind         text NOT NULL CHECK (kind IN ('device', 'user')),
    subject      text NOT NULL,
    subject_id   bigint NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now(),
    requested_by text,
    rows_n       bigint NOT NULL DEFAULT 0, -- removed so far
    checked_at   timestamptz, -- when nothing was found the last time
    finished_at  timestamptz
);
CREATE INDEX erasure_due ON erasure (number) WHERE finished_at IS NULL;
CREATE INDEX erasure_tenant ON erasure (tenant_id, number);

-- What a tenant keeps for a shorter time than the installation does.
CREATE TABLE retention (
    tenant_id integer NOT NULL REFERENCES tenant,
    what      text NOT NULL CHECK (what IN ('positions', 'measurements', 'tag_reads', 'events', 'dead_letters', 'audit')),
    days      integer NOT NULL CHECK (days > 0),
    PRIMARY KEY (tenant_id, what)
);

SELECT guard_table('erasure', 'SELECT, INSERT');
SELECT audit_table('erasure', 'privacy', 'r.kind || '' '' || r.subject',
    ignored => '{number,subject_id,rows_n,checked_at,finished_at}');
SELECT guard_table('retention');
SELECT audit_table('retention', 'privacy', 'r.what');

-- Whoever may erase takes the device away in the same transaction.
DO $$ BEGIN
    IF to_regrole('waymark_api') IS NOT NULL THEN
        GRANT DELETE ON device, ledger_reason, dead_letter TO waymark_api;
    END IF;
END $$;
