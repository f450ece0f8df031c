"""The formats of the checkpoint: what each version adds to the one before it."""

from __future__ import annotations

VERSIONS = (
    (
        """
CREATE TABLE files (
    key      TEXT PRIMARY KEY,      -- what the ids of its lines begin with
    path     TEXT NOT NULL,
    foreign_ INTEGER NOT NULL,      -- 1: not one of jsonlog's files
    device   INTEGER NOT NULL,
    inode    INTEGER NOT NULL,
    head     BLOB NOT NULL,         -- the first bytes of a foreign file
    offset   INTEGER NOT NULL,      -- bytes delivered, always a contiguous prefix
    line     INTEGER NOT NULL,      -- newlines before the offset
    tail     BLOB NOT NULL,         -- the bytes just before the offset
    updated  REAL NOT NULL          -- seconds since 1970
) STRICT
""",
    ),
    (
        """
CREATE TABLE counts (               -- how the lines before the offset have ended; '' is the sum of files known no longer
    key      TEXT NOT NULL,
    fate     TEXT NOT NULL,         -- a value of Fate; of '' also 'read', how many there were
    lines    INTEGER NOT NULL,
    PRIMARY KEY (key, fate)
) STRICT, WITHOUT ROWID
""",
        "ALTER TABLE files ADD COLUMN counted_from INTEGER NOT NULL DEFAULT 0",  # the line at which the counts begin
        "UPDATE files SET counted_from = line",
    ),
    (
        """
CREATE TABLE reservations (         -- up to where lines may have been sent: written before the first of them is
    key      TEXT NOT NULL,
    target   TEXT NOT NULL,         -- the stream; '': any
    until    INTEGER NOT NULL,      -- an offset
    since    TEXT NOT NULL,         -- the write index of the stream before the first of them was sent; '': not known
    PRIMARY KEY (key, target, until)
) STRICT, WITHOUT ROWID
""",
        # What an earlier version had on its way is in doubt; it never was more than this.
        "INSERT INTO reservations SELECT key, '', offset + 268435456, '' FROM files",
    ),
    (
        """
CREATE TABLE manifests (            -- what batches are made of whose requests have keys: written before the first is sent
    batch    INTEGER NOT NULL,      -- a later one has a larger number
    place    INTEGER NOT NULL,      -- of a run of lines in its batch, from 0
    places   INTEGER NOT NULL,      -- how many there are
    key      TEXT NOT NULL,
    offset   INTEGER NOT NULL,      -- where it begins
    line     INTEGER NOT NULL,
    until    INTEGER NOT NULL,      -- where it ends
    end_line INTEGER NOT NULL,
    path     TEXT NOT NULL,         -- of its file, as its records have it
    read_at  TEXT NOT NULL,         -- the time of reading, as its records have it
    sent     INTEGER NOT NULL,      -- 1: there is something to be sent of it
    tally    TEXT,                  -- JSON: how the lines of its file have ended; NULL until the batch is settled
    PRIMARY KEY (batch, place)
) STRICT, WITHOUT ROWID
""",
        "CREATE INDEX manifests_by_key ON manifests (key)",
        """
CREATE TABLE targets (              -- names that fields of records have chosen: a bounded number, the same after a restart
    name     TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID
""",
        """
CREATE TABLE halves (               -- requests that were refused as a whole: their halves were sent in their place
    batch    INTEGER NOT NULL,
    request  TEXT NOT NULL,         -- its first line and the number of its lines
    PRIMARY KEY (batch, request)
) STRICT, WITHOUT ROWID
""",
    ),
)
"""Statements by version, from 1; a checkpoint of any earlier one is brought up to date when it is opened."""
