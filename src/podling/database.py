"""The one SQLite file: schema, migrations, transactions.

WAL mode: readers never wait, writers queue. ``synchronous=NORMAL``: a power cut may lose the newest transactions, never the
file's integrity; nothing is listed that is not whole, because content is synced and renamed before its row is written.
"""

from __future__ import annotations

import os
import time

from podling.errors import Corrupt, PodlingError
from podling.sqlite import DatabaseError, Error, IntegrityError, OperationalError, connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sqlite3 import Connection
    from types import TracebackType

__all__ = ["Database", "DatabaseError", "Error", "IntegrityError", "Transaction"]

BUSY_SECONDS = 60.0
# Pages in the log before they are moved into the file, with the only fsyncs of a short command. The first to open the database
# reads the log through, so it stays short: commands end without closing, which would cost each of them a checkpoint.
CHECKPOINT_PAGES = 250

# Each entry brings the schema from its index to the next version; entries are never changed once released.
MIGRATIONS = (
    """
    CREATE TABLE layers (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,               -- directory name: hex diff id, or hex of the chain where a parent's mode matters
        diff_id TEXT NOT NULL,                  -- "sha256:..." of the uncompressed tar
        size INTEGER NOT NULL,                  -- bytes of file content on disk
        tar_size INTEGER NOT NULL,              -- bytes of the uncompressed tar
        created INTEGER NOT NULL
    );
    CREATE INDEX layers_diff_id ON layers(diff_id);
    CREATE TABLE images (
        id TEXT PRIMARY KEY,                    -- hex digest of the configuration
        digest TEXT NOT NULL,                   -- of the manifest it was last stored with
        media_type TEXT NOT NULL,               -- of that manifest
        created INTEGER NOT NULL,
        pulled INTEGER NOT NULL,
        size INTEGER NOT NULL,
        config BLOB NOT NULL                    -- last, so that lists need not read past it
    );
    CREATE TABLE image_manifests (
        image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
        digest TEXT NOT NULL,
        media_type TEXT NOT NULL,
        content BLOB NOT NULL,
        PRIMARY KEY (image_id, digest)
    ) WITHOUT ROWID;
    CREATE TABLE image_names (                  -- shown in the order in which they were given
        name TEXT PRIMARY KEY,                  -- docker.io/library/nginx:latest
        image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE
    );
    CREATE INDEX image_names_image ON image_names(image_id);
    CREATE TABLE image_digests (
        repository TEXT NOT NULL,               -- docker.io/library/nginx
        digest TEXT NOT NULL,                   -- of the manifest or index it was pulled by
        image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
        PRIMARY KEY (repository, digest, image_id)
    ) WITHOUT ROWID;
    CREATE INDEX image_digests_image ON image_digests(image_id);
    CREATE TABLE image_layers (
        image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        layer_id INTEGER NOT NULL REFERENCES layers(id),
        PRIMARY KEY (image_id, position)
    ) WITHOUT ROWID;
    CREATE INDEX image_layers_layer ON image_layers(layer_id);
    CREATE TABLE blobs (                        -- compressed forms in which a layer was seen
        digest TEXT PRIMARY KEY,
        diff_id TEXT NOT NULL,
        size INTEGER NOT NULL,
        media_type TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX blobs_diff_id ON blobs(diff_id);
    CREATE TABLE blob_locations (               -- registries' repositories that are known to hold a blob
        digest TEXT NOT NULL,
        repository TEXT NOT NULL,               -- host/path
        PRIMARY KEY (digest, repository)
    ) WITHOUT ROWID;

    CREATE TABLE volumes (
        name TEXT PRIMARY KEY,
        created INTEGER NOT NULL,
        record TEXT NOT NULL                    -- model.Volume
    ) WITHOUT ROWID;

    CREATE TABLE containers (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        created INTEGER NOT NULL,
        local_image TEXT REFERENCES images(id), -- keeps our own image from being removed
        summary TEXT NOT NULL,                  -- model.Container
        config TEXT NOT NULL                    -- model.ContainerConfig
    ) WITHOUT ROWID;
    CREATE INDEX containers_image ON containers(local_image);
    CREATE TABLE container_states (
        id TEXT PRIMARY KEY REFERENCES containers(id) ON DELETE CASCADE,
        state TEXT NOT NULL                     -- model.ContainerState
    ) WITHOUT ROWID;
    CREATE TABLE exit_codes (                   -- of removed containers, for whoever still waits for them
        id TEXT PRIMARY KEY,
        code INTEGER NOT NULL,
        removed INTEGER NOT NULL                -- nanoseconds since 1970
    ) WITHOUT ROWID;
    CREATE TABLE container_volumes (
        container_id TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
        volume TEXT NOT NULL REFERENCES volumes(name),
        PRIMARY KEY (container_id, volume)
    ) WITHOUT ROWID;
    CREATE INDEX container_volumes_volume ON container_volumes(volume);
    CREATE TABLE container_dependencies (
        container_id TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
        needs TEXT NOT NULL REFERENCES containers(id),
        PRIMARY KEY (container_id, needs)
    ) WITHOUT ROWID;
    CREATE INDEX container_dependencies_needs ON container_dependencies(needs);
    CREATE TABLE container_images (             -- images mounted into a container
        container_id TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
        image_id TEXT NOT NULL REFERENCES images(id),
        PRIMARY KEY (container_id, image_id)
    ) WITHOUT ROWID;
    CREATE TABLE exec_sessions (
        id TEXT PRIMARY KEY,
        container_id TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
        record TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX exec_sessions_container ON exec_sessions(container_id);
    CREATE TABLE leases (                       -- addresses of live containers
        network TEXT NOT NULL,
        address TEXT NOT NULL,
        container_id TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
        PRIMARY KEY (network, address)
    ) WITHOUT ROWID;
    CREATE INDEX leases_container ON leases(container_id);
    CREATE TABLE lease_marks (                  -- the address last given, so that the next one is another
        network TEXT NOT NULL,
        subnet TEXT NOT NULL,
        address TEXT NOT NULL,
        PRIMARY KEY (network, subnet)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE image_signatures (             -- as the image came with them, in the form of containers/image
        image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
        digest TEXT NOT NULL,                   -- of the manifest that is signed
        position INTEGER NOT NULL,
        content BLOB NOT NULL,
        PRIMARY KEY (image_id, digest, position)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE list_sources (                 -- where the instances of manifest lists are that are not in this store
        image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
        digest TEXT NOT NULL,
        source TEXT NOT NULL,                   -- docker://...
        PRIMARY KEY (image_id, digest)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE blob_annotations (             -- what a layer's descriptor says beside digest and size: where its table of contents is
        digest TEXT PRIMARY KEY,
        annotations TEXT NOT NULL               -- JSON
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE static_addresses (             -- that containers, running or not, were promised: never given to another by chance
        network TEXT NOT NULL,
        address TEXT NOT NULL,
        container_id TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
        PRIMARY KEY (network, address, container_id)
    ) WITHOUT ROWID;
    CREATE INDEX static_addresses_container ON static_addresses(container_id);
    """,
    # 1: a manifest says so, and nobody has read the blob whole. (SQLite keeps a comment of its own beside the column, to the table's end.)
    "ALTER TABLE blobs ADD COLUMN claimed INTEGER NOT NULL DEFAULT 0",
)


class Database:
    """An open database. One object serves one thread; threads open their own (opening takes half a millisecond)."""

    def __init__(self, path: str) -> None:
        """Open the database at ``path``, made where it is absent, and bring its schema up to date."""
        self.path = path
        try:
            self.connection = self._open(path)
        except DatabaseError as error:
            if not os.statvfs(os.path.dirname(path)).f_bavail:           # SQLite says "disk I/O error"
                raise PodlingError(f"opening database {path}: no space left on device",
                                   hint=f"make room there: df {os.path.dirname(path)}") from None
            raise Corrupt(f"opening database {path}: {error}") from None

    def _open(self, path: str) -> Connection:
        connection = connect(path, timeout=BUSY_SECONDS, isolation_level=None, cached_statements=64)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise PodlingError(f"database {path} was written by a newer podling (schema {version}, known {len(MIGRATIONS)})",
                               hint="use that version, or another --root")
        if version < len(MIGRATIONS):
            os.chmod(path, 0o600)
            self._use_wal(connection)
            self._migrate(connection)
        return connection

    @staticmethod
    def _use_wal(connection: Connection) -> None:
        """Switch to the write-ahead log. SQLite does not wait for another process that does so in the same instant; we do."""
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
            else:
                return

    @staticmethod
    def _migrate(connection: Connection) -> None:
        connection.execute("BEGIN EXCLUSIVE")
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]  # another process may have been quicker
            for migration in MIGRATIONS[version:]:
                for statement in migration.split(";"):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def rows(self, sql: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        """All rows of a query."""
        return self.connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: object) -> tuple | None:  # type: ignore[type-arg]
        """The first row of a query, or None."""
        found: tuple | None = self.connection.execute(sql, values).fetchone()  # type: ignore[type-arg]
        return found

    def run(self, sql: str, *values: object) -> int:
        """Execute one statement (inside a transaction or by itself); the number of rows it changed."""
        return self.connection.execute(sql, values).rowcount

    def run_many(self, sql: str, values: list[tuple]) -> None:  # type: ignore[type-arg]
        """Execute one statement for each tuple of values."""
        self.connection.executemany(sql, values)

    def transaction(self) -> Transaction:
        """``with database.transaction():`` -- everything inside happens, or nothing. Nested ones join the outer one."""
        return Transaction(self.connection)

    def durable(self) -> Transaction:
        """As :meth:`transaction`, and once it is over no power cut takes it back: for rows whose files are deleted next."""
        return Transaction(self.connection, durable=True)

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def reopen(self) -> None:
        """Open the file again after :meth:`close`. Around a fork: SQLite's bookkeeping of locks must not be inherited."""
        self.connection = self._open(self.path)


class Transaction:
    """A write transaction, begun at once so that what it reads stays true until it commits."""

    def __init__(self, connection: Connection, *, durable: bool = False) -> None:
        self.connection = connection
        self.outer = False
        self.durable = durable

    def __enter__(self) -> None:
        self.outer = self.connection.in_transaction
        if not self.outer:
            if self.durable:
                self.connection.execute("PRAGMA synchronous = FULL")
            self.connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self.outer:
            self.connection.execute("COMMIT" if kind is None else "ROLLBACK")
            if self.durable:
                self.connection.execute("PRAGMA synchronous = NORMAL")
