"""SQL over the newest snapshots: embedded DuckDB, or Apache Spark."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ..errors import InvalidQuery
from ..schema import TABLES
from ..sinks.columns import require
from .curate import table_of
from .snapshot import load_manifests, newest
from .storage import LakeError, Storage

__all__ = ["duckdb_connection", "query", "spark_session"]


def files_of(storage: Storage) -> dict[str, list[str]]:
    """Return the newest Parquet files of each table, by name within the lake."""
    manifests = newest(load_manifests(storage)).values()
    if not manifests:
        raise LakeError(f"{storage} holds no lake yet: run anthropic-usage-track with this root")
    return {
        table: [manifest.curated[table].name for manifest in manifests if table in manifest.curated]
        for table in TABLES
    }


def query(storage: Storage, sql: str, *, engine: str = "duckdb", master: str = "local[*]") -> Any:
    """Run one SELECT over the views and return an Arrow table.

    Raises InvalidQuery for SQL that is wrong or would do more than read.
    """
    if engine == "spark":
        with spark_session(storage, master) as session:
            return _spark(session, sql)
    with duckdb_connection(storage) as connection:
        return _duckdb(connection, sql)


@contextlib.contextmanager
def duckdb_connection(storage: Storage) -> Iterator[Any]:
    """Open DuckDB in memory with a view a table; it reads the lake and nothing else."""
    duckdb: Any = require("duckdb", "lake")
    connection = duckdb.connect()
    try:
        held = []
        for table, names in files_of(storage).items():
            if not names:
                relation = table_of(table, [])
            elif storage.local is not None:
                paths = ", ".join(_quoted(storage.path(name)) for name in names)
                connection.execute(
                    f"create view {table} as select * from read_parquet([{paths}], "  # noqa: S608
                    "hive_partitioning = false)"
                )
                continue
            else:
                dataset: Any = require("pyarrow.dataset", "lake")
                relation = dataset.dataset(
                    [storage.path(name) for name in names],
                    filesystem=storage.filesystem,
                    format="parquet",
                )
            held.append(relation)
            connection.register(table, relation)
        if storage.local is not None:
            connection.execute(f"set allowed_directories = [{_quoted(storage.base)}]")
        connection.execute("set enable_external_access = false")
        connection.execute("set lock_configuration = true")
        yield connection
    finally:
        connection.close()


def _duckdb(connection: Any, sql: str) -> Any:
    duckdb: Any = require("duckdb", "lake")
    try:
        statements = connection.extract_statements(sql)
        allowed = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
        if len(statements) != 1 or statements[0].type not in allowed:
            raise InvalidQuery("give one SELECT: a lake is read here, never written")
        return connection.sql(sql).to_arrow_table()
    except duckdb.Error as error:
        raise InvalidQuery(f"the SQL is wrong: {' '.join(str(error).split())}") from None


@contextlib.contextmanager
def spark_session(storage: Storage, master: str = "local[*]") -> Iterator[Any]:
    """Open a Spark session with the same views."""
    pyspark: Any = require("pyspark.sql", "spark")
    session = (
        pyspark.SparkSession.builder.master(master)
        .appName("anthropic-usage")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "8")
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )
    try:
        for table, names in files_of(storage).items():
            if names:
                frame = session.read.parquet(*(_spark_path(storage, name) for name in names))
            else:
                frame = session.createDataFrame(table_of(table, []))
            frame.createOrReplaceTempView(table)
        yield session
    finally:
        session.stop()


def _spark(session: Any, sql: str) -> Any:
    errors: Any = require("pyspark.errors", "spark")
    if sql.split(maxsplit=1)[:1] and sql.split(maxsplit=1)[0].lower() not in ("select", "with"):
        raise InvalidQuery("give one SELECT: a lake is read here, never written")
    try:
        return session.sql(sql).toArrow()
    except errors.PySparkException as error:
        sentence = " ".join(str(error).split())
        raise InvalidQuery(f"the SQL is wrong: {sentence[:500]}") from None


def _spark_path(storage: Storage, name: str) -> str:
    if storage.local is not None:
        return f"file://{storage.path(name)}"
    scheme = storage.root.partition("://")[0]
    return f"{'s3a' if scheme == 's3' else scheme}://{storage.path(name)}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
