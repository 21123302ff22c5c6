"""One day as the API told it: raw documents, and the manifest that makes them count.

A raw document is JSON around the pages' own bytes, which stand in it unchanged. The files of a
snapshot share a timestamp; its manifest is written last, so that a snapshot is there wholly or not
at all, and what has no manifest is waste.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import msgspec

from ..errors import InvalidQuery
from ..flow import Part
from ..moments import DAY, rfc3339, utc_now
from ..query import ClaudeCodeQuery, CostQuery, Query, UsageQuery
from ..sinks.columns import require
from ..wire import decode
from .storage import LakeError, Storage

__all__ = [
    "CURATED",
    "RAW",
    "FileEntry",
    "Manifest",
    "Page",
    "Read",
    "curated_name",
    "later_stamp",
    "load_manifests",
    "manifest_name",
    "newest",
    "pack",
    "parts",
    "raw_name",
    "stamp",
    "unpack",
]

SCHEMA = "anthropic-usage-raw/1"
MANIFEST = "anthropic-usage-manifest/1"
MANIFESTS = "manifests/anthropic"
RAW = {
    "usage": ("usage_report", "usage"),
    "cost": ("cost_report", "cost"),
    "claude_code": ("claude_code", "claude_code"),
    "names": ("names", "names"),
}
CURATED = "curated/anthropic"
_STAMP = re.compile(r"_(\d{8}T\d{12}Z)\.")


def stamp(moment: dt.datetime) -> str:
    """Return a timestamp for file names, to the microsecond, in UTC."""
    return f"{moment:%Y%m%dT%H%M%S%f}Z"


def raw_name(kind: str, day: dt.date, when: str, compressed: bool = False) -> str:
    """Return the name of a day's raw document."""
    folder, prefix = RAW[kind]
    ending = ".json.zst" if compressed else ".json"
    return f"raw/anthropic/{folder}/date={day}/{prefix}_{when}{ending}"


def curated_name(table: str, day: dt.date, when: str) -> str:
    """Return the name of a day's Parquet file of a table."""
    folder = f"year={day:%Y}/month={day:%m}/day={day:%d}"
    return f"{CURATED}/{table}/{folder}/{table}_{when}.parquet"


def manifest_name(day: dt.date, when: str) -> str:
    """Return the name of a snapshot's manifest."""
    return f"{MANIFESTS}/date={day}/snapshot_{when}.json"


def stamp_of(name: str) -> str | None:
    """Return the timestamp in a file's name."""
    found = _STAMP.search(name)
    return found[1] if found else None


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a snapshot."""

    name: str
    sha256: str
    size: int
    rows: int | None = None

    @classmethod
    def of(cls, name: str, data: bytes, rows: int | None = None) -> FileEntry:
        """Describe a file that is about to be written."""
        return cls(name=name, sha256=hashlib.sha256(data).hexdigest(), size=len(data), rows=rows)


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot consists of."""

    schema: str = MANIFEST
    date: dt.date
    stamp: str
    fetched_at: dt.datetime
    """The API's time when it answered last."""
    complete: bool
    """Whether the day was over and settled by then."""
    content: str
    """A hash of what the tables say: the same again means that nothing changed."""
    prices: str
    """A hash of the price table that the estimates were made with."""
    overrides: dict[str, Any] = msgspec.field(default_factory=dict)
    """The prices of --pricing-json."""
    agents: dict[str, str] = msgspec.field(default_factory=dict)
    """ANTHROPIC_AGENT_MAP_JSON."""
    raw: dict[str, FileEntry]
    curated: dict[str, FileEntry]
    totals: dict[str, dict[str, Any]]
    """Of each table: the sums of its measures; money as strings."""

    @property
    def name(self) -> str:
        """The manifest's own name."""
        return manifest_name(self.date, self.stamp)

    def files(self) -> list[FileEntry]:
        """Return all files but the manifest."""
        return [*self.raw.values(), *self.curated.values()]

    def encode(self) -> bytes:
        """Return it as JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"


def later_stamp(manifest: Manifest) -> str:
    """Return a timestamp of now that is later than a snapshot's, even by a clock turned back."""
    now = stamp(utc_now())
    if now > manifest.stamp:
        return now
    last = dt.datetime.strptime(manifest.stamp, "%Y%m%dT%H%M%S%fZ").replace(tzinfo=dt.UTC)
    return stamp(last + dt.timedelta(microseconds=1))


def load_manifests(storage: Storage) -> dict[dt.date, list[Manifest]]:
    """Return every day's snapshots, oldest first; raises LakeError for one that is damaged."""
    days: dict[dt.date, list[Manifest]] = {}
    for name in storage.list(MANIFESTS):
        if not name.endswith(".json"):
            continue
        try:
            manifest = msgspec.json.decode(storage.read(name), type=Manifest)
        except msgspec.MsgspecError as error:
            raise LakeError(f"{name} is damaged: {error}") from None
        if manifest.schema != MANIFEST:
            raise LakeError(f"{name} is of another version: {manifest.schema}")
        days.setdefault(manifest.date, []).append(manifest)
    for snapshots in days.values():
        snapshots.sort(key=lambda manifest: manifest.stamp)
    return dict(sorted(days.items()))


def newest(days: dict[dt.date, list[Manifest]]) -> dict[dt.date, Manifest]:
    """Return the snapshot that counts of each day."""
    return {day: snapshots[-1] for day, snapshots in days.items()}


@attrs.frozen(kw_only=True)
class Page:
    """A page as the API sent it."""

    begins: dt.datetime
    ends: dt.datetime
    now: dt.datetime
    body: bytes = attrs.field(repr=False)

    @classmethod
    def of(cls, part: Part) -> Page:
        """Keep a part of a report."""
        return cls(begins=part.begins, ends=part.ends, now=part.now, body=part.body)


@attrs.frozen(kw_only=True)
class Read:
    """One reading of a report for one day."""

    report: str
    group_by: tuple[str, ...] = ()
    fast: bool = False
    """Whether it counts fast use only."""
    pages: tuple[Page, ...] = ()

    def query(self, day: dt.date) -> Query:
        """Return the question that this answers."""
        end = day + DAY
        if self.report == "usage":
            speeds = "fast" if self.fast else None
            return UsageQuery.create(day, end, group_by=self.group_by, speeds=speeds)
        if self.report == "cost":
            return CostQuery.create(day, end, group_by=self.group_by)
        return ClaudeCodeQuery.create(day, end)


class _RawPage(msgspec.Struct):
    begins: dt.datetime
    ends: dt.datetime
    now: dt.datetime
    body: msgspec.Raw


class _RawRead(msgspec.Struct):
    report: str
    group_by: list[str]
    fast: bool
    pages: list[_RawPage]


class _RawDocument(msgspec.Struct):
    schema: str
    date: dt.date
    reads: list[_RawRead]


def pack(day: dt.date, reads: Iterable[Read]) -> bytes:
    """Return a raw document: JSON in which the pages' bytes stand as they came."""
    chunks = [f'{{"schema": "{SCHEMA}",\n"date": "{day}",\n"reads": ['.encode()]
    for number, read in enumerate(reads):
        facts = {"report": read.report, "group_by": list(read.group_by), "fast": read.fast}
        chunks.append(b",\n" if number else b"\n")
        chunks.append(json.dumps(facts)[:-1].encode() + b', "pages": [')
        for place, page in enumerate(read.pages):
            times = {name: rfc3339(getattr(page, name)) for name in ("begins", "ends", "now")}
            chunks.append(b",\n" if place else b"\n")
            chunks.append(json.dumps(times)[:-1].encode() + b', "body":\n' + page.body + b"\n}")
        chunks.append(b"]}")
    chunks.append(b"\n]}\n")
    return b"".join(chunks)


def unpack(data: bytes, name: str) -> tuple[Read, ...]:
    """Return the readings of a raw document; raises LakeError if it is damaged."""
    if name.endswith(".zst"):
        data = decompress(data, name)
    try:
        document = msgspec.json.decode(data, type=_RawDocument)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LakeError(f"{name} is damaged: {error}") from None
    if document.schema != SCHEMA:
        raise LakeError(f"{name} is of another version: {document.schema}")
    return tuple(
        Read(
            report=read.report,
            group_by=tuple(read.group_by),
            fast=read.fast,
            pages=tuple(
                Page(begins=page.begins, ends=page.ends, now=page.now, body=bytes(page.body))
                for page in read.pages
            ),
        )
        for read in document.reads
    )


def compress(data: bytes) -> bytes:
    """Return zstd-compressed data."""
    pa: Any = require("pyarrow", "lake")
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(data)
    made: bytes = sink.getvalue().to_pybytes()
    return made


def decompress(data: bytes, name: str) -> bytes:
    """Return what `compress` was given."""
    pa: Any = require("pyarrow", "lake")
    try:
        with pa.input_stream(pa.BufferReader(data), compression="zstd") as stream:
            plain: bytes = stream.read()
            return plain
    except OSError as error:
        raise LakeError(f"{name} is damaged: {error}") from None


def parts(read: Read, day: dt.date) -> Sequence[Part]:
    """Return a reading's pages, decoded."""
    query = read.query(day)
    return [
        Part(
            page=decode(query, page.body),
            body=page.body,
            begins=page.begins,
            ends=page.ends,
            now=page.now,
        )
        for page in read.pages
    ]


def check_day(day: dt.date) -> dt.date:
    """Return a day that the API can know; raises InvalidQuery."""
    if not dt.date(2023, 1, 1) <= day <= dt.date(9990, 1, 1):
        raise InvalidQuery(f"{day} is no day that usage can be tracked of")
    return day
