"""Delta logs beside the tables: the same files, committed atomically, with time travel."""

from __future__ import annotations

import json
import time
from typing import Any

from ..sinks.columns import require
from .curate import arrow_schema
from .schema import TABLES
from .snapshot import CURATED, FileEntry, current
from .storage import LakeError, Storage

__all__ = ["commit", "leave", "table_uri"]

_PARTITIONS = ("year", "month", "day")


def table_uri(storage: Storage, table: str) -> str:
    """Return where a table's Delta log is, for engines that read it."""
    if storage.local is not None:
        return storage.path(f"{CURATED}/{table}")
    return storage.url(f"{CURATED}/{table}")


def leave(storage: Storage, names: set[str]) -> None:
    """Bring logs that name any of these files of the lake to the newest snapshots.

    Raises LakeError if there are logs that cannot be read, MissingExtra without `delta`.
    """
    if not any("/_delta_log/" in name for name in storage.list(CURATED)):
        return
    deltalake: Any = require("deltalake", "delta")
    for table in TABLES:
        folder, uri = f"{CURATED}/{table}/", table_uri(storage, table)
        try:
            if not deltalake.DeltaTable.is_deltatable(uri):
                continue
            named = {folder + path for path in _files(deltalake.DeltaTable(uri))}
        except (deltalake.exceptions.DeltaError, OSError, ValueError) as error:
            raise LakeError(
                f"the Delta log of {table} cannot be read, so that nobody knows which files it "
                f"names: {error}"
            ) from None
        if named & names:
            commit(storage)
            return


def commit(storage: Storage) -> dict[str, tuple[int, int]]:
    """Bring each table's log to the newest snapshots, in one transaction a table.

    Returns, by table, the version of the log and how many days were committed. Parquet files are
    not copied: the log names those of the lake. Raises MissingExtra without the extra `delta`.
    """
    deltalake: Any = require("deltalake", "delta")
    transaction: Any = require("deltalake.transaction", "delta")
    manifests = current(storage)
    done: dict[str, tuple[int, int]] = {}
    for table in TABLES:
        folder = f"{CURATED}/{table}/"
        wanted = {
            manifest.curated[table].name.removeprefix(folder): manifest.curated[table]
            for manifest in manifests.values()
            if table in manifest.curated
        }
        if not wanted:
            continue
        uri = table_uri(storage, table)
        try:
            log = deltalake.DeltaTable(uri)
        except deltalake.exceptions.TableNotFoundError:
            log = None
        known = set() if log is None else _files(log)
        added = [
            transaction.AddAction(*_facts(path, entry))
            for path, entry in wanted.items()
            if path not in known
        ]
        schema = _schema(table)
        try:
            if log is None:
                transaction.create_table_with_add_actions(
                    uri,
                    schema,
                    added,
                    mode="error",
                    partition_by=list(_PARTITIONS),
                    name=table,
                    description="written by anthropic-usage-track",
                )
                log = deltalake.DeltaTable(uri)
            elif added or known - wanted.keys():
                gone = [
                    transaction.RemoveAction(path, True, int(time.time() * 1000))
                    for path in sorted(known - wanted.keys())
                ]
                log.create_write_transaction(
                    [*added, *gone], mode="append", schema=schema, partition_by=list(_PARTITIONS)
                )
                log.update_incremental()
        except deltalake.exceptions.DeltaError as error:
            raise LakeError(f"the Delta log of {table} cannot be written: {error}") from None
        done[table] = log.version(), len(added)
    return done


def _files(log: Any) -> set[str]:
    """Return the files that a log names, relative to its table."""
    actions = require("pyarrow", "delta").table(log.get_add_actions(flatten=True))
    return set(actions.column("path").to_pylist())


def _facts(path: str, entry: FileEntry) -> tuple[Any, ...]:
    values = dict(part.split("=", 1) for part in path.split("/")[:-1])
    stats = json.dumps({"numRecords": entry.rows})
    return path, entry.size, values, int(time.time() * 1000), True, stats


def _schema(table: str) -> Any:
    """Return a Delta schema: the table's columns, and those that the folders' names hold."""
    pa: Any = require("pyarrow", "delta")
    deltalake: Any = require("deltalake", "delta")
    fields = [pa.field(field.name, field.type) for field in arrow_schema(table)]
    fields += [pa.field(name, pa.string()) for name in _PARTITIONS]
    return deltalake.Schema.from_arrow(pa.schema(fields))
