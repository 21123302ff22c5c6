"""SQL over the newest snapshots: embedded DuckDB, or Apache Spark.

Every file that a statement can see is compared with its manifest's hash before it is read: an
answer is of what was tracked, or there is none.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

from ..errors import InvalidQuery
from ..outside import whole
from ..sinks.columns import require
from .curate import table_of
from .engines import spark_session, spark_table
from .schema import TABLES
from .snapshot import FileEntry, check, current
from .storage import LakeError, Storage

__all__ = ["duckdb_connection", "query", "spark_session"]

_EXPLAIN = re.compile(r"\s*explain\s+(?:analyze\s+)?(?=[^(\s])", re.IGNORECASE)
_PATTERN = re.compile(r"[*?\[\]{}]")
_AS_TEXT = {
    "bignum", "bit", "interval", "time with time zone", "time_tz", "timetz", "uhugeint", "time_ns",
}  # fmt: skip
"""Types of DuckDB that Arrow does not hold, or not all values of."""


def files_of(storage: Storage) -> dict[str, list[FileEntry]]:
    """Return the newest Parquet files of each table."""
    manifests = current(storage).values()
    return {
        table: [manifest.curated[table] for manifest in manifests if table in manifest.curated]
        for table in TABLES
    }


def query(storage: Storage, sql: str, *, engine: str = "duckdb", master: str = "local[*]") -> Any:
    """Run one SELECT over the views and return an Arrow table.

    Raises InvalidQuery for SQL that is wrong or would do more than read, and LakeError if a file
    that it needs is not as it was written.
    """
    if whole(sql) != sql:
        raise InvalidQuery("the SQL holds what is no character: it is not UTF-8")
    files = files_of(storage)
    named = [table for table in TABLES if table in sql.lower()]
    seen = {table: files[table] for table in named or TABLES}
    check(storage, (entry for entries in seen.values() for entry in entries))
    if engine == "spark":
        with spark_session(storage, master, seen) as session:
            return spark_table(session, sql)
    # A COPY may hide in a SELECT: then DuckDB gets no file at all.
    with duckdb_connection(storage, seen, fenced="copy" in sql.lower()) as connection:
        return _duckdb(connection, sql)


@contextlib.contextmanager
def duckdb_connection(
    storage: Storage, files: dict[str, list[FileEntry]] | None = None, *, fenced: bool = False
) -> Iterator[Any]:
    """Open DuckDB in memory with a view a table; it reads these files and nothing else.

    With `fenced` it opens no file by itself, and is handed the rows.
    """
    duckdb: Any = require("duckdb", "lake")
    if files is None:
        files = files_of(storage)
        check(storage, (entry for entries in files.values() for entry in entries))
    fenced = fenced or storage.local is None or bool(_PATTERN.search(storage.base))
    with (
        tempfile.TemporaryDirectory(prefix="anthropic-usage-sql-") as spill,
        contextlib.closing(duckdb.connect()) as connection,
    ):
        allowed = []
        for table, entries in files.items():
            paths = [storage.path(entry.name) for entry in entries]
            if not paths:
                connection.register(table, table_of(table, []))
            elif fenced:
                connection.register(table, _dataset(storage, paths))
            else:
                listed = ", ".join(map(_quoted, paths))
                connection.execute(
                    f"create view {table} as select * from read_parquet([{listed}], "  # noqa: S608
                    "hive_partitioning = false)"
                )
                allowed += paths
        for setting in (
            f"temp_directory = {_quoted('' if fenced else spill)}",
            f"allowed_paths = [{', '.join(map(_quoted, allowed))}]",
            "python_enable_replacements = false",
            "autoinstall_known_extensions = false",
            "autoload_known_extensions = false",
            "enable_external_access = false",
            "lock_configuration = true",
        ):
            connection.execute(f"set {setting}")
        yield connection


def _dataset(storage: Storage, paths: Iterable[str]) -> Any:
    dataset: Any = require("pyarrow.dataset", "lake")
    return dataset.dataset(list(paths), filesystem=storage.filesystem, format="parquet")


def _duckdb(connection: Any, sql: str) -> Any:
    duckdb: Any = require("duckdb", "lake")
    try:
        statements = connection.extract_statements(sql)
        if len(statements) == 1 and statements[0].type == duckdb.StatementType.EXPLAIN:
            # EXPLAIN ANALYZE does what it explains, writing too.
            statements = connection.extract_statements(_EXPLAIN.sub("", sql, count=1))
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise InvalidQuery("give one SELECT: a lake is read here, never written")
        return _exact(connection.sql(sql))
    except duckdb.IOException as error:
        raise LakeError(f"a table cannot be read: {_line(error)}") from None
    except duckdb.CatalogException as error:
        tables = f" (the tables are {', '.join(TABLES)})" if "Table with name" in str(error) else ""
        sentence = re.sub(r" ?Did you mean .*", "", _line(error)) if tables else _line(error)
        raise InvalidQuery(f"the SQL is wrong: {sentence}{tables}") from None
    except (duckdb.Error, RuntimeError, UnicodeError, OverflowError) as error:
        raise InvalidQuery(f"the SQL is wrong: {_line(error)}") from None


def _exact(relation: Any) -> Any:
    """Return a relation as an Arrow table in which every value is what DuckDB has."""
    pa: Any = require("pyarrow", "lake")
    if relation is None:
        raise InvalidQuery("give one SELECT: a lake is read here, never written")
    names = list(relation.columns)
    texts = [str(kind).lower() for kind in relation.types]
    cast = [any(re.search(rf"\b{re.escape(k)}\b", text) for k in _AS_TEXT) for text in texts]
    cast = [found or text == "time" for found, text in zip(cast, texts, strict=True)]
    if any(cast):
        columns = [f"c{place}" for place in range(len(names))]
        wanted = ", ".join(
            f"cast({column} as varchar)" if as_text else column
            for column, as_text in zip(columns, cast, strict=True)
        )
        relation = relation.query(
            "answer",
            f"select {wanted} from answer as t({', '.join(columns)})",  # noqa: S608
        )
    return pa.table(relation.to_arrow_table()).rename_columns(_once(names))


def _once(names: list[str]) -> list[str]:
    """Return names of which none occurs twice: x, x_2."""
    taken = set(names)
    found: list[str] = []
    for name in names:
        number, told = 2, name
        while told in found or (told != name and told in taken):
            told, number = f"{name}_{number}", number + 1
        found.append(told)
    return found


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
