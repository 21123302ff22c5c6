"""Apache Spark over a lake: a session that can read the views, and as little else as it allows.

Spark has no sandbox. Path relations are switched off, one plan is let through, only if every node
of it reads or computes, and functions that reach out of the data (reflection, scripts) are
refused. What cannot be fenced: Spark itself opens ports on the loopback address while it runs.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import InvalidQuery
from ..sinks.columns import require
from .curate import table_of
from .snapshot import FileEntry
from .storage import Storage

__all__ = ["spark_session", "spark_table"]

_SECRET = re.compile(r"ANTHROPIC|CLAUDE|TOKEN|API_?KEY|PASSWORD|WEBHOOK", re.IGNORECASE)
_PLANS = {
    "Aggregate", "CTERelationDef", "CTERelationRef", "CollectMetrics", "Deduplicate", "Distinct",
    "Except", "Expand", "Filter", "Generate", "GlobalLimit", "Intersect", "Join", "LateralJoin",
    "LocalLimit", "LocalRelation", "LogicalRDD", "LogicalRelation", "Offset", "OneRowRelation",
    "Pivot", "Project", "Range", "RebalancePartitions", "Repartition", "RepartitionByExpression",
    "ResolvedHint", "Sample", "Sort", "SubqueryAlias", "Tail", "Union", "Unpivot", "View", "Window",
    "WithCTE", "WithWindowDefinition", "OrderedDistinct", "LimitAll",
}  # fmt: skip
"""Nodes of analysed plans that read or compute."""
_OUTSIDE = re.compile(
    r"CallMethodViaReflection|TryReflect|StaticInvoke|\bInvoke\b|PythonUDF|ScalaUDF|HiveGenericUDF|"
    r"HiveSimpleUDF|InputFile|CurrentUser|SparkVersion|\.xml\."
)


@contextlib.contextmanager
def spark_session(
    storage: Storage, master: str, files: Mapping[str, list[FileEntry]]
) -> Iterator[Any]:
    """Open a Spark session with a view a table; its environment holds no key and no token."""
    pyspark: Any = require("pyspark.sql", "spark")
    with tempfile.TemporaryDirectory(prefix="anthropic-usage-spark-") as scratch:
        with _no_secrets():
            session = (
                pyspark.SparkSession.builder.master(master)
                .appName("anthropic-usage")
                .config("spark.ui.enabled", "false")
                .config("spark.driver.host", "127.0.0.1")
                .config("spark.driver.bindAddress", "127.0.0.1")
                .config("spark.sql.session.timeZone", "UTC")
                .config("spark.sql.shuffle.partitions", "8")
                .config("spark.sql.runSQLOnFiles", "false")
                .config("spark.sql.catalogImplementation", "in-memory")
                .config("spark.sql.warehouse.dir", scratch)
                .config("spark.log.level", "ERROR")
                .getOrCreate()
            )
        try:
            for table, entries in files.items():
                if entries:
                    paths = [_spark_path(storage, entry.name) for entry in entries]
                    frame = session.read.parquet(*paths)
                else:
                    frame = session.createDataFrame(table_of(table, []))
                frame.createOrReplaceTempView(table)
            yield session
        finally:
            session.stop()


@contextlib.contextmanager
def _no_secrets() -> Iterator[None]:
    """Start children without keys and tokens, which any engine could tell."""
    hidden = {name: value for name, value in os.environ.items() if _SECRET.search(name)}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def spark_table(session: Any, sql: str) -> Any:
    """Run one SELECT and return an Arrow table; raises InvalidQuery for anything else."""
    errors: Any = require("pyspark.errors", "spark")
    java: Any = require("py4j.protocol", "spark")
    refusal = InvalidQuery("give one SELECT over the tables: a lake is read here, never written")
    try:
        # Parsed, and only then analysed, for what is no query may be carried out when analysed.
        state = session._jsparkSession.sessionState()
        plan = state.sqlParser().parsePlan(sql)
        if not _reads_only(plan) or not _reads_only(state.analyzer().execute(plan)):
            raise refusal
        return session.sql(sql).toArrow()
    except errors.PySparkException as error:
        raise InvalidQuery(f"the SQL is wrong: {_line(error)}") from None
    except java.Py4JJavaError as error:
        raise InvalidQuery(
            f"the SQL is wrong: {_line(error.java_exception.getMessage())}"
        ) from None


def _reads_only(plan: Any) -> bool:
    """Tell whether every node of a plan, subqueries too, is one that reads or computes."""
    pending, places = [plan], 0
    while pending:
        node = pending.pop()
        places += 1
        name = node.getClass().getSimpleName()
        known = name in _PLANS or (name.startswith("Unresolved") and "Execute" not in name)
        if not known or _OUTSIDE.search(_expressions(node)):
            return False
        for more in (node.children(), node.innerChildren(), node.subqueries()):
            pending += [more.apply(place) for place in range(more.size())]
    return places > 0


def _expressions(node: Any) -> str:
    found = node.expressions()
    names = []
    pending = [found.apply(place) for place in range(found.size())]
    while pending:
        expression = pending.pop()
        names.append(expression.getClass().getName())
        children = expression.children()
        pending += [children.apply(place) for place in range(children.size())]
    return " ".join(names)


def _spark_path(storage: Storage, name: str) -> str:
    url = storage.url(name)
    # Hadoop reads patterns.
    url = re.sub(r"([*?\[\]{}\\])", r"\\\1", url)
    return f"s3a{url.removeprefix('s3')}" if url.startswith("s3://") else url


def _line(text: Any) -> str:
    return " ".join(str(text).split())[:500]
