-- Webhooks and other channels. Nothing is copied per target: a target has a cursor in the event
-- log, a subject whose event is being retried a cursor of its own, and events are read when due.

CREATE TABLE webhook (
    number          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id       integer NOT NULL REFERENCES tenant,
    -- The public name: chosen by the caller or generated.
    id              text NOT NULL CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$'),
    version         integer NOT NULL DEFAULT 1,
    body            jsonb NOT NULL,     -- tracking.webhooks.Webhook
    secrets         bytea NOT NULL,     -- sealed: tracking.webhooks.Secrets
    enabled         boolean NOT NULL,
    disabled_reason text,               -- why it was disabled by itself
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    updated_by      text,               -- the name of the credential
    UNIQUE (tenant_id, id)
);

-- How far each target got. A deliverer holds it by `lease`. Whoever moves the cursor otherwise raises
-- `epoch`, after which the holder's writes count for nothing; any other wish raises `nudge`, for
-- which the holder finishes what is under way and starts again from here.
CREATE TABLE webhook_progress (
    webhook_number  bigint PRIMARY KEY REFERENCES webhook ON DELETE CASCADE,
    tenant_id       integer NOT NULL,
    -- Every event up to here is delivered, given up, unwanted, or behind the cursor of its subject.
    cursor          bigint NOT NULL,
    epoch           bigint NOT NULL DEFAULT 0,
    nudge           bigint NOT NULL DEFAULT 0,
    lease           uuid,
    lease_until     timestamptz,
    due_at          timestamptz,        -- when there is something to do besides new events
    failures        integer NOT NULL DEFAULT 0, -- in a row
    failing_since   timestamptz,
    last_success_at timestamptz,
    last_failure_at timestamptz,
    last_failure    text
) WITH (fillfactor = 50);

-- Subjects of which an event is being retried: their later events wait behind `cursor`.
CREATE TABLE webhook_head (
    webhook_number bigint NOT NULL REFERENCES webhook ON DELETE CASCADE,
    tenant_id      integer NOT NULL,
    subject        text NOT NULL,
    cursor         bigint NOT NULL,
    message        text NOT NULL,       -- the webhook-id being retried; '': none yet
    tries          integer NOT NULL,
    started_at     timestamptz NOT NULL, -- of the first try
    due_at         timestamptz NOT NULL,
    PRIMARY KEY (webhook_number, subject)
);

-- What became of each message: event id and revision, once per target.
CREATE TABLE webhook_delivery (
    number         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id      integer NOT NULL,
    webhook_number bigint NOT NULL REFERENCES webhook ON DELETE CASCADE,
    message        text NOT NULL,       -- the webhook-id
    event_id       uuid,                -- NULL for tests
    type           text NOT NULL,
    subject        text NOT NULL,
    -- waiting: asked for (a test, a replay) and sent beside the order of its subject.
    state          text NOT NULL CHECK (
        state IN ('delivered', 'retrying', 'waiting', 'dead', 'superseded')),
    tries          integer NOT NULL,
    started_at     timestamptz,
    due_at         timestamptz,
    recorded_at    timestamptz NOT NULL DEFAULT now(), -- of the last try
    -- The last tries, the newest last: at, status, latency_ms, error, response.
    attempts       jsonb NOT NULL DEFAULT '[]',
    body           text,                -- only of what is not in the event log
    UNIQUE (webhook_number, message)
);
CREATE INDEX webhook_delivery_list ON webhook_delivery (webhook_number, number);
CREATE INDEX webhook_delivery_event ON webhook_delivery (event_id);
CREATE INDEX webhook_delivery_waiting ON webhook_delivery (webhook_number, due_at)
    WHERE state = 'waiting';
CREATE INDEX webhook_delivery_dead ON webhook_delivery (webhook_number, number)
    WHERE state = 'dead';
CREATE INDEX webhook_delivery_old ON webhook_delivery (recorded_at)
    WHERE state IN ('delivered', 'superseded');

SELECT guard_table('webhook');
SELECT guard_table('webhook_progress', 'SELECT, INSERT, UPDATE');
SELECT guard_table('webhook_head', 'SELECT, UPDATE, DELETE');
SELECT guard_table('webhook_delivery', 'SELECT, INSERT, UPDATE');

SELECT audit_table('webhook', 'webhooks', secret => '{secrets}');
