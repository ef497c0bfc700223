-- The second lock and the audit log. Who a connection acts for is told by two settings:
-- `waymark.tenant_id`, empty or unset for the processes that serve every tenant, and
-- `waymark.actor`, set while a principal changes something. See docs/security.md.

CREATE FUNCTION acting_tenant() RETURNS integer LANGUAGE sql STABLE PARALLEL SAFE AS
    $$ SELECT nullif(current_setting('waymark.tenant_id', true), '')::integer $$;

-- Superusers and owners pass row-level security by, so the api takes on a role that is neither.
-- Roles belong to the cluster: another database may make it at the same moment.
DO $$ BEGIN
    IF to_regrole('waymark_api') IS NULL THEN
        CREATE ROLE waymark_api NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
    WHEN insufficient_privilege THEN
        RAISE NOTICE 'no right to make the role waymark_api: forced row-level security takes its place';
END $$;
DO $$ BEGIN
    IF to_regrole('waymark_api') IS NOT NULL AND NOT pg_has_role('waymark_api', 'MEMBER') THEN
        EXECUTE format('GRANT waymark_api TO %I', current_user);
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
    WHEN insufficient_privilege THEN
        RAISE NOTICE 'no right to grant the role waymark_api: forced row-level security takes its place';
END $$;
DO $$ BEGIN
    IF to_regrole('waymark_api') IS NOT NULL THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO waymark_api', current_schema);
    END IF;
END $$;

-- Whether row-level security cannot serve: views run with their owner's rights, and TimescaleDB
-- refuses it on compressed hypertables.
CREATE FUNCTION guarded_by_view(guarded regclass) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE
    chunked boolean := false;
BEGIN
    IF to_regclass('timescaledb_information.hypertables') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM timescaledb_information.hypertables '
            'WHERE format(''%I.%I'', hypertable_schema, hypertable_name)::regclass = $1)'
            INTO chunked USING guarded;
    END IF;
    RETURN chunked OR (SELECT relkind = 'v' FROM pg_class WHERE oid = guarded);
END $$;

-- Limit a table to the rows that are `mine`, which reads the row and `acting_tenant()`, and grant
-- the api what it `may` do with them. Call it again after adding columns to a hypertable.
CREATE FUNCTION guard_table(
    guarded regclass, may text DEFAULT 'SELECT, INSERT, UPDATE, DELETE',
    mine text DEFAULT 'tenant_id = (SELECT acting_tenant())'
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    -- Sub-selects without a reference to the row are evaluated once per query.
    visible text := format('(SELECT acting_tenant()) IS NULL OR %s', mine);
    target text := guarded::text;
BEGIN
    IF guarded_by_view(guarded) THEN
        -- Of the same name, in a schema the api looks into first. No security barrier: joins could
        -- not reach the indexes below one, and the api's SQL brings no functions that leak.
        CREATE SCHEMA IF NOT EXISTS waymark_api;
        SELECT format('waymark_api.%I', relname) INTO target FROM pg_class WHERE oid = guarded;
        EXECUTE format('CREATE OR REPLACE VIEW %s AS SELECT * FROM %s WHERE %s', target, guarded, visible);
    ELSE
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', guarded);
        EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', guarded);
        EXECUTE format('DROP POLICY IF EXISTS tenant ON %s', guarded);
        EXECUTE format('CREATE POLICY tenant ON %s USING (%s)', guarded, visible);
    END IF;
    IF to_regrole('waymark_api') IS NOT NULL THEN
        IF to_regnamespace('waymark_api') IS NOT NULL THEN
            GRANT USAGE ON SCHEMA waymark_api TO waymark_api;
        END IF;
        EXECUTE format('REVOKE ALL ON %s FROM waymark_api', target);
        EXECUTE format('GRANT %s ON %s TO waymark_api', may, target);
    END IF;
END $$;

-- What principals did. Only ever added to: the api may neither change nor remove a line.
CREATE TABLE audit_log (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id  integer NOT NULL REFERENCES tenant,
    at         timestamptz NOT NULL DEFAULT now(),
    actor_kind text NOT NULL, -- key or user
    actor_id   bigint,
    actor_name text NOT NULL, -- as it was then
    request_id text,
    ip         inet,
    action     text NOT NULL, -- create, update or delete of a row, else a word of its own: export
    noun       text NOT NULL, -- as in the permissions
    key        text NOT NULL, -- which of them
    before     jsonb,         -- of an update, the columns that changed
    after      jsonb
);
CREATE INDEX audit_log_at ON audit_log (tenant_id, at, id);
CREATE INDEX audit_log_key ON audit_log (tenant_id, noun, key, at);

-- Write a line for one changed row, in the transaction that changed it.
CREATE FUNCTION audit_change(
    tenant integer, op text, noun text, key text, was jsonb, becomes jsonb, ignored text[], secret text[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    actor text := current_setting('waymark.actor');
    secret_name text;
BEGIN
    was := was - ignored;
    becomes := becomes - ignored;
    IF op = 'UPDATE' THEN
        SELECT jsonb_object_agg(old.key, old.value), jsonb_object_agg(old.key, becomes -> old.key)
        INTO was, becomes
        FROM jsonb_each(was) old WHERE old.value IS DISTINCT FROM becomes -> old.key;
        IF was IS NULL THEN
            RETURN;
        END IF;
    END IF;
    FOR secret_name IN SELECT unnest(secret) LOOP
        was := CASE WHEN was ? secret_name THEN was || jsonb_build_object(secret_name, '***') ELSE was END;
        becomes := CASE WHEN becomes ? secret_name THEN becomes || jsonb_build_object(secret_name, '***') ELSE becomes END;
    END LOOP;
    INSERT INTO audit_log (tenant_id, actor_kind, actor_id, actor_name, request_id, ip, action, noun, key, before, after)
    VALUES (
        tenant, split_part(actor, ':', 1), nullif(split_part(actor, ':', 2), '')::bigint,
        substr(actor, length(split_part(actor, ':', 1)) + length(split_part(actor, ':', 2)) + 3),
        nullif(current_setting('waymark.request_id', true), ''),
        nullif(current_setting('waymark.ip', true), '')::inet,
        CASE op WHEN 'INSERT' THEN 'create' ELSE lower(op) END, audit_change.noun, audit_change.key, was, becomes);
END $$;

-- Have every change a principal makes to a table's rows written to the audit log. `key` is SQL
-- that names the row `r` as people do; of `secret` columns only the name is written; a change of
-- `ignored` columns alone is none.
CREATE FUNCTION audit_table(
    audited regclass, noun text, key text DEFAULT 'r.id', secret text[] DEFAULT '{}',
    ignored text[] DEFAULT '{}'
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    SELECT format('audit_%s', relname) INTO name FROM pg_class WHERE oid = audited;
    EXECUTE format(
        'CREATE OR REPLACE FUNCTION %I() RETURNS trigger LANGUAGE plpgsql AS $f$ '
        'DECLARE r %s := CASE TG_OP WHEN ''DELETE'' THEN OLD ELSE NEW END; '
        'BEGIN PERFORM audit_change(r.tenant_id, TG_OP, %L, (%s)::text, to_jsonb(OLD), to_jsonb(NEW), %L, %L); '
        'RETURN NULL; END $f$', name, audited, noun, key, ignored, secret);
    EXECUTE format(
        -- Tested before anything is queued: whoever has no actor pays for this alone.
        'CREATE OR REPLACE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW '
        'WHEN (current_setting(''waymark.actor'', true) <> '''') EXECUTE FUNCTION %I()', audited, name);
END $$;

-- Permissions a key is narrowed to (NULL: all that its role grants), and when it ends by itself.
ALTER TABLE api_key ADD COLUMN scopes text[], ADD COLUMN expires_at timestamptz;

SELECT guard_table('tenant', 'SELECT, UPDATE', 'id = (SELECT acting_tenant())');
SELECT guard_table('api_key', 'SELECT, INSERT, UPDATE');
SELECT guard_table('device', 'SELECT, UPDATE');
SELECT guard_table('device_state', 'SELECT');
SELECT guard_table('ledger_reason', 'SELECT');
SELECT guard_table('dead_letter', 'SELECT');
SELECT guard_table('checkpoint', 'SELECT', 'EXISTS (SELECT FROM device d WHERE d.id = device_id)');
SELECT guard_table('repair', 'SELECT');
SELECT guard_table('event', 'SELECT, INSERT, UPDATE');
SELECT guard_table('position', 'SELECT');
SELECT guard_table('measurement', 'SELECT');
SELECT guard_table('tag_read', 'SELECT');
SELECT guard_table('measurement_hourly', 'SELECT');
SELECT guard_table('fence', 'SELECT, INSERT, UPDATE');
SELECT guard_table('fence_version', 'SELECT, INSERT, UPDATE');
SELECT guard_table('rule', 'SELECT, INSERT, UPDATE');
SELECT guard_table('rule_version', 'SELECT, INSERT');
SELECT guard_table('alert', 'SELECT, INSERT, UPDATE');
SELECT guard_table('alert_cursor', 'SELECT, INSERT, UPDATE');

SELECT guard_table('audit_log', 'SELECT, INSERT');
-- Where there is no role the policies alone keep the log append-only.
DROP POLICY tenant ON audit_log;
CREATE POLICY tenant ON audit_log FOR SELECT
    USING ((SELECT acting_tenant()) IS NULL OR tenant_id = (SELECT acting_tenant()));
CREATE POLICY adding ON audit_log FOR INSERT
    WITH CHECK ((SELECT acting_tenant()) IS NULL OR tenant_id = (SELECT acting_tenant()));
CREATE POLICY upkeep ON audit_log USING ((SELECT acting_tenant()) IS NULL);

SELECT audit_table('api_key', 'api-keys', secret => '{digest}', ignored => '{last_used_at}');
SELECT audit_table('device', 'devices', 'r.name');
-- A version is made once and holds the content; what follows from the next one is no act. Its
-- shape stays where it is: it is never changed either.
SELECT audit_table('fence', 'fences', ignored => '{version}');
SELECT audit_table('fence_version', 'fences', '(SELECT f.id FROM fence f WHERE f.number = r.fence_number) || ''@'' || r.version',
    ignored => '{valid_to,revision,revised_at,digest,shape,kind,geometry,radius_m,min_lon,min_lat,max_lon,max_lat}');
SELECT audit_table('rule', 'rules', ignored => '{version}');
SELECT audit_table('rule_version', 'rules', '(SELECT f.id FROM rule f WHERE f.number = r.rule_number) || ''@'' || r.version');
SELECT audit_table('alert', 'alerts', ignored => '{data}');
