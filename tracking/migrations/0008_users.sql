-- People who sign in, their sessions, and the keys that sign their access tokens.

CREATE TABLE user_account (
    id                integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id         integer NOT NULL REFERENCES tenant,
    email             text NOT NULL,      -- in lower case, so that no two differ by case alone
    name              text NOT NULL,
    version           integer NOT NULL DEFAULT 1, -- raised by who administers it
    role              text NOT NULL CHECK (role IN ('admin', 'dispatcher', 'viewer', 'service')),
    password          text,               -- Argon2id in PHC form; NULL until one is set
    disabled_at       timestamptz,
    created_at        timestamptz NOT NULL DEFAULT now(),
    signed_in_at      timestamptz,
    -- SHA-256 of the one-time token that sets a password.
    invite            bytea UNIQUE,
    invite_expires_at timestamptz,
    -- Sealed with WAYMARK_SECRET_KEY; the pending one was shown and not confirmed yet.
    totp_secret       bytea,
    totp_pending      bytea,
    totp_step         bigint NOT NULL DEFAULT 0, -- the last one used: codes up to it are spent
    recovery          bytea[] NOT NULL DEFAULT '{}', -- SHA-256 of the codes not used yet
    UNIQUE (tenant_id, email)
);

CREATE TABLE user_session (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id    integer NOT NULL REFERENCES tenant,
    user_id      integer NOT NULL REFERENCES user_account ON DELETE CASCADE,
    started_at   timestamptz NOT NULL DEFAULT now(),
    refreshed_at timestamptz NOT NULL DEFAULT now(),
    ends_at      timestamptz NOT NULL,    -- however often it is refreshed
    ended_at     timestamptz,
    ended_reason text CHECK (ended_reason IN ('signed_out', 'password', 'disabled', 'reset', 'reused')),
    address      text,
    user_agent   text
);
CREATE INDEX user_session_user ON user_session (user_id, started_at);

-- The tokens of a session, spent ones for as long as they could come back. Whoever refreshes holds
-- the session's row.
CREATE TABLE refresh_token (
    digest     bytea PRIMARY KEY,         -- SHA-256 of 256 random bits
    tenant_id  integer NOT NULL REFERENCES tenant,
    session_id uuid NOT NULL REFERENCES user_session ON DELETE CASCADE,
    expires_at timestamptz NOT NULL,
    spent_at   timestamptz,
    successor  bytea                      -- the digest of the one it was exchanged for
);
CREATE INDEX refresh_token_session ON refresh_token (session_id);

-- Wrong passwords and codes, counted per account and address and per account; accounts that do not
-- exist are counted like those that do. Rows go by themselves after a day.
CREATE TABLE sign_in_guess (
    digest        bytea PRIMARY KEY,      -- SHA-256 of whose guesses these are
    tenant_id     integer NOT NULL,       -- 0: of no tenant there is
    failed        integer NOT NULL DEFAULT 0,
    retry_at      timestamptz,
    trusted_until timestamptz,            -- the account was signed in from there
    forget_at     timestamptz NOT NULL
);
CREATE INDEX sign_in_guess_forget ON sign_in_guess (forget_at);

-- Keys of all tenants' access tokens; the private half is sealed with WAYMARK_SECRET_KEY.
CREATE TABLE signing_key (
    kid     text PRIMARY KEY,
    public  bytea NOT NULL,
    sealed  bytea NOT NULL,
    made_at timestamptz NOT NULL
);

-- Whoever may sign in is not known by any tenant yet: then the api asks as the system it is.
SELECT guard_table('user_account');
SELECT guard_table('user_session');
SELECT guard_table('refresh_token');
SELECT guard_table('sign_in_guess');
SELECT guard_table('signing_key', 'SELECT, INSERT, DELETE', 'false');

SELECT audit_table('user_account', 'users', 'r.email',
    secret => '{password,invite,totp_secret,totp_pending,recovery}',
    ignored => '{version,signed_in_at,totp_step,invite_expires_at}');
-- Whose sessions go with a user is gone before them.
SELECT audit_table('user_session', 'auth',
    'coalesce((SELECT u.email FROM user_account u WHERE u.id = r.user_id), r.user_id::text)',
    ignored => '{refreshed_at}');
