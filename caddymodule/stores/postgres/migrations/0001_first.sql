-- Layout 1. Tables are named mcp_auth.x here; the schema is an option.

-- One row: what reads and writes this schema (doc.go, Layouts).
CREATE TABLE mcp_auth.layout (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    layout  integer NOT NULL,
    serves  integer NOT NULL,
    changed timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE mcp_auth.grants (
    id         text COLLATE "C" PRIMARY KEY,
    subject    text COLLATE "C" NOT NULL,
    created    timestamptz NOT NULL,
    generation bigint NOT NULL,
    rotated_at timestamptz NOT NULL,
    expires    timestamptz NOT NULL,
    used_at    timestamptz NOT NULL,
    used_from  text COLLATE "C" NOT NULL,
    revoked    timestamptz,
    keep       timestamptz,
    -- When the record is of no use any more. GREATEST passes over NULL.
    due        timestamptz NOT NULL GENERATED ALWAYS AS (GREATEST(expires, keep)) STORED,
    -- All that never changes, as JSON. Text, because jsonb would change it.
    body       text COLLATE "C" NOT NULL
);
CREATE INDEX grants_due ON mcp_auth.grants (due);
CREATE INDEX grants_person ON mcp_auth.grants (subject, created DESC, id) WHERE revoked IS NULL;

CREATE TABLE mcp_auth.used (
    hash  text COLLATE "C" PRIMARY KEY,
    first timestamptz NOT NULL,
    until timestamptz NOT NULL
);
CREATE INDEX used_until ON mcp_auth.used (until);

CREATE TABLE mcp_auth.clients (
    key      text COLLATE "C" PRIMARY KEY,
    version  bigint NOT NULL,
    metadata text COLLATE "C" NOT NULL,
    changed  timestamptz NOT NULL,
    deleted  boolean NOT NULL
);

-- One row: the number of the feed's newest entry. Whoever appends holds it until
-- the commit (doc.go, The feed).
CREATE TABLE mcp_auth.feed (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    id   text COLLATE "C" NOT NULL,
    last bigint NOT NULL,
    mark text COLLATE "C" NOT NULL
);
INSERT INTO mcp_auth.feed (id, last, mark) VALUES (gen_random_uuid()::text, 0, '');

CREATE TABLE mcp_auth.revocations (
    seq   bigint PRIMARY KEY,
    mark  text COLLATE "C" NOT NULL,
    until timestamptz NOT NULL,
    body  text COLLATE "C" NOT NULL
);
CREATE INDEX revocations_until ON mcp_auth.revocations (until);

CREATE TABLE mcp_auth.key_ring (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    version bigint NOT NULL,
    ring    bytea NOT NULL
);

-- One row, which Ping writes to.
CREATE TABLE mcp_auth.probe (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    at  timestamptz NOT NULL
);
INSERT INTO mcp_auth.probe (at) VALUES (clock_timestamp());
