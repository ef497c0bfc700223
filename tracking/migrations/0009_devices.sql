-- Devices' credentials at the broker, and commands down to devices.

-- What a device shows the broker: a password, or a certificate named by its subject.
CREATE TABLE device_credential (
    id          uuid PRIMARY KEY,
    -- The order of lists; with the number of rows it tells whether a broker's files are current.
    number      bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    tenant_id   integer NOT NULL REFERENCES tenant,
    device_id   bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    kind        text NOT NULL CHECK (kind IN ('password', 'certificate')),
    -- As the broker sees it: the user name, or the common name of the certificate.
    username    text NOT NULL,
    -- PBKDF2 of a 256-bit random password, as in Mosquitto's password file.
    secret_hash text CHECK ((kind = 'password') = (secret_hash IS NOT NULL)),
    label       text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    created_by  text NOT NULL,
    expires_at  timestamptz,
    revoked_at  timestamptz
);
-- One that is over gives its name up only when it is marked as revoked.
CREATE UNIQUE INDEX device_credential_username ON device_credential (kind, username)
    WHERE revoked_at IS NULL;
CREATE INDEX device_credential_device ON device_credential (device_id, number);

CREATE TABLE command (
    id           uuid PRIMARY KEY,
    number       bigint GENERATED ALWAYS AS IDENTITY UNIQUE, -- the order of lists, and of sending
    tenant_id    integer NOT NULL REFERENCES tenant,
    device_id    bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    name         text NOT NULL,
    payload      jsonb NOT NULL,
    state        text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'sent', 'delivered',
        'succeeded', 'failed', 'timed_out', 'expired', 'cancelled')),
    timeout_s    double precision NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    created_by   text NOT NULL,
    expires_at   timestamptz NOT NULL,
    attempts_n   integer NOT NULL DEFAULT 0,
    -- When it was last taken to be published, and until when it is nobody else's to publish.
    attempted_at timestamptz,
    leased_until timestamptz,
    sent_at      timestamptz,
    delivered_at timestamptz,
    answered_at  timestamptz, -- the last word of the device, also when it came too late
    ended_at     timestamptz,
    due_at       timestamptz, -- when it changes by itself
    result       jsonb
);
CREATE INDEX command_list ON command (device_id, number);
CREATE INDEX command_open ON command (device_id, number) WHERE state IN ('queued', 'sent');
CREATE INDEX command_due ON command (due_at) WHERE due_at IS NOT NULL;

-- The api registers devices too.
SELECT guard_table('device', 'SELECT, INSERT, UPDATE');
SELECT guard_table('device_state', 'SELECT, INSERT');
SELECT guard_table('device_credential', 'SELECT, INSERT, UPDATE');
SELECT guard_table('command', 'SELECT, INSERT, UPDATE');
SELECT audit_table('device_credential', 'credentials', secret => '{secret_hash}');
SELECT audit_table('command', 'commands');
