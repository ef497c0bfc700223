-- Workers that divide a plain subscription: a worker leaves a message to another only after all
-- of them are known to receive everything.
CREATE TABLE ingest_worker (
    workers       integer NOT NULL, -- among how many the devices are divided
    index         integer NOT NULL,
    subscribed_at timestamptz NOT NULL DEFAULT now(),
    shares_since  timestamptz,
    PRIMARY KEY (workers, index)
);
