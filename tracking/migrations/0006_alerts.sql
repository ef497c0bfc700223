-- Rules and alerts. A follower of the event log judges each event once: `alert_cursor` says how far
-- it got, and moves in the transaction that writes the alerts.

-- Raised by every edit of a rule, under the tenant's row lock; compiled rules of another revision
-- are stale.
ALTER TABLE tenant ADD COLUMN rule_revision bigint NOT NULL DEFAULT 0;

CREATE TABLE rule (
    number     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id  integer NOT NULL REFERENCES tenant,
    -- The public name: chosen by the caller or generated. Part of the ids of the rule's alerts.
    id         text NOT NULL CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$'),
    version    integer NOT NULL,     -- the latest
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,          -- soft: its versions and alerts stay
    UNIQUE (tenant_id, id)
);

CREATE TABLE rule_version (
    rule_number bigint NOT NULL REFERENCES rule,
    version     integer NOT NULL,
    tenant_id   integer NOT NULL,
    -- Judges the events behind this cursor: the tenant's when the version was written.
    from_cursor bigint NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    recorded_by text,                -- the name of the API key
    body        jsonb,               -- tracking.rules.Rule; NULL: deleted
    PRIMARY KEY (rule_number, version)
);
CREATE INDEX rule_version_cursor ON rule_version (tenant_id, from_cursor);

-- Made with a tenant's first rule. Whoever changes alerts of a tenant holds its row: the follower
-- (which skips what is locked), deadlines, and people by way of the api.
CREATE TABLE alert_cursor (
    tenant_id  integer PRIMARY KEY REFERENCES tenant,
    cursor     bigint NOT NULL,
    visited_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE alert (
    id                uuid PRIMARY KEY, -- UUIDv5 of rule and event
    number            bigint GENERATED ALWAYS AS IDENTITY UNIQUE, -- the order of lists
    tenant_id         integer NOT NULL,
    rule_number       bigint NOT NULL REFERENCES rule,
    rule_version      integer NOT NULL,
    -- A copy of the event, kept in line with its latest revision.
    event_id          uuid NOT NULL,
    event_type        text NOT NULL,
    event_status      text NOT NULL,
    late              boolean NOT NULL,
    data              jsonb NOT NULL,
    device            text NOT NULL,  -- the event's subject
    device_id         bigint,
    fence             text,
    severity          text NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    state             text NOT NULL CHECK (
        state IN ('open', 'escalated', 'acknowledged', 'snoozed', 'resolved', 'suppressed')),
    opened_at         timestamptz NOT NULL, -- when the event happened, device clock
    recorded_at       timestamptz NOT NULL,
    acknowledged_at   timestamptz,
    acknowledged_by   text,
    snoozed_until     timestamptz,
    escalated_at      timestamptz,
    resolved_at       timestamptz,
    resolved_by       text,
    resolved_reason   text CHECK (resolved_reason IN ('user', 'cleared', 'retracted', 'amended')),
    resolved_event    uuid,           -- what cleared it
    note              text,
    suppressed_n      integer NOT NULL DEFAULT 0, -- events its cooldown keeps silent
    suppressed_by     uuid,           -- the alert whose cooldown keeps this one silent
    suppressed_reason text CHECK (suppressed_reason IN ('cooldown', 'quiet')),
    due_at            timestamptz     -- when it changes by itself
);
CREATE INDEX alert_list ON alert (tenant_id, number) WHERE state <> 'suppressed';
CREATE INDEX alert_unresolved ON alert (tenant_id, number)
    WHERE state NOT IN ('resolved', 'suppressed');
CREATE INDEX alert_suppressed ON alert (tenant_id, number) WHERE state = 'suppressed';
CREATE INDEX alert_event ON alert (event_id);
CREATE INDEX alert_key ON alert (rule_number, device, opened_at) WHERE state <> 'suppressed';
CREATE INDEX alert_clearable ON alert (rule_number, device)
    WHERE state NOT IN ('resolved', 'suppressed');
CREATE INDEX alert_cleared ON alert (resolved_event) WHERE resolved_event IS NOT NULL;
CREATE INDEX alert_silenced ON alert (suppressed_by) WHERE suppressed_by IS NOT NULL;
CREATE INDEX alert_due ON alert (tenant_id, due_at) WHERE due_at IS NOT NULL;
