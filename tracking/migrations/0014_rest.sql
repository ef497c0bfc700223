-- Requests that must happen once: the answer of each is kept for a day under its Idempotency-Key.
CREATE TABLE idempotency_key (
    tenant_id   integer NOT NULL REFERENCES tenant ON DELETE CASCADE,
    principal   text NOT NULL,              -- key:7, user:3: whoever sent it, whatever it is called now
    key_digest  bytea NOT NULL,             -- the key itself opens `answer`
    fingerprint bytea NOT NULL,             -- of method, address and body
    attempt     uuid NOT NULL UNIQUE,       -- whoever holds another one may no longer write
    claimed_at  timestamptz NOT NULL DEFAULT now(),
    wrote       boolean NOT NULL DEFAULT false, -- raised in the transaction that wrote something
    answer      bytea,                      -- sealed under the key; null while there is none
    PRIMARY KEY (tenant_id, principal, key_digest)
);
CREATE INDEX idempotency_key_claimed_at ON idempotency_key (tenant_id, claimed_at);
SELECT guard_table('idempotency_key');

-- What people said of a device, for If-Match; its state has another.
ALTER TABLE device ADD COLUMN version integer NOT NULL DEFAULT 1;
