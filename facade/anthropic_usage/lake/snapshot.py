"""One day as the API told it: raw documents, and the manifest that makes them count.

A raw document is JSON around the pages' own bytes, which stand in it unchanged. The files of a
snapshot share a timestamp; its manifest is written last, so that a snapshot is there wholly or not
at all, and what has no manifest is waste.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import msgspec

from ..errors import InvalidQuery
from ..moments import DAY, rfc3339, utc_now
from ..reports import REGISTRY, Part, Query
from ..sinks.columns import require
from .schema import TABLES
from .storage import LakeError, Storage

__all__ = [
    "CURATED",
    "MANIFESTS",
    "RAW",
    "REQUIRED",
    "FileEntry",
    "Manifest",
    "Page",
    "Read",
    "check",
    "curated_name",
    "current",
    "day_of",
    "is_intact",
    "later_stamp",
    "load_manifests",
    "manifest_name",
    "names_of",
    "newest",
    "not_intact",
    "pack",
    "parts",
    "pending",
    "pending_name",
    "raw_name",
    "read_checked",
    "read_raw",
    "stamp",
    "unpack",
]

SCHEMA = "anthropic-usage-raw/1"
MANIFEST = "anthropic-usage-manifest/2"
_UNSEALED = "anthropic-usage-manifest/1"
MANIFESTS = "manifests/anthropic"
RAW = {
    "usage": ("usage_report", "usage"),
    "cost": ("cost_report", "cost"),
    "claude_code": ("claude_code", "claude_code"),
    "names": ("names", "names"),
}
_RAW = "raw/anthropic"
CURATED = "curated/anthropic"
_SIDE_BY_SIDE = 4
REQUIRED = {
    "usage": ("usage_daily", "model_daily"),
    "cost": ("cost_daily",),
    "claude_code": ("claude_code_daily",),
}
"""The tables that a report is made into."""
_PENDING = ".staging/snapshots"
_WHEN = r"\d{8}T\d{12}Z"
_NAME = re.compile(rf"{MANIFESTS}/date=\d{{4}}-\d\d-\d\d/snapshot_{_WHEN}\.json")
_STAMP = re.compile(rf"_({_WHEN})\.(?:json|json\.zst|parquet)")
_MARK = re.compile(rf"{_PENDING}/(\d{{4}}-\d\d-\d\d)_({_WHEN})\.json")


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
    """Return the timestamp in the name of a file of a snapshot; None for any other file."""
    found = _STAMP.search(name)
    if found is None:
        return None
    day = day_of(name)
    if day is None:
        return None
    return found[1] if name in names_of(day, found[1]) else None


def day_of(name: str) -> dt.date | None:
    """Return the day that a file's folders name."""
    found = re.search(r"/(?:date=|year=)(\d{4})(?:-|/month=)(\d\d)(?:-|/day=)(\d\d)/", name)
    try:
        return dt.date(*map(int, found.groups())) if found else None
    except ValueError:
        return None


def pending_name(day: dt.date, when: str) -> str:
    """Return the name of the mark that a snapshot is being written."""
    return f"{_PENDING}/{day}_{when}.json"


def pending(storage: Storage) -> list[tuple[str, dt.date, str]]:
    """Return the marks of snapshots that were never finished: name, day and timestamp."""
    found = []
    for name in storage.list(_PENDING):
        mark = _MARK.fullmatch(name)
        if mark is not None:
            with contextlib.suppress(ValueError):
                found.append((name, dt.date.fromisoformat(mark[1]), mark[2]))
    return found


def names_of(day: dt.date, when: str) -> list[str]:
    """Return the names that the files of a snapshot can have."""
    return [
        *(raw_name(kind, day, when, packed) for kind in RAW for packed in (False, True)),
        *(curated_name(table, day, when) for table in TABLES),
    ]


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

    def describes(self, data: bytes) -> bool:
        """Whether data is what was written."""
        return hashlib.sha256(data).hexdigest() == self.sha256


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
    missing: dict[str, str] = msgspec.field(default_factory=dict)
    """What could not be read though it should be there (`cost`, `claude_code`, `fast`), and why."""
    seal: str = ""
    """A hash of all the above."""

    @property
    def name(self) -> str:
        """The manifest's own name."""
        return manifest_name(self.date, self.stamp)

    @property
    def lacks(self) -> set[str]:
        """The readings of the day that could not be had."""
        return {what for what in self.missing if not what.startswith("names.")}

    def files(self) -> list[FileEntry]:
        """Return all files but the manifest."""
        return [*self.raw.values(), *self.curated.values()]

    def encode(self) -> bytes:
        """Return it as JSON, sealed."""
        made = msgspec.structs.replace(self, schema=MANIFEST)
        made = msgspec.structs.replace(made, seal=made._hash())
        return msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n"

    def _hash(self) -> str:
        plain = msgspec.structs.replace(self, seal="")
        return hashlib.sha256(msgspec.json.encode(plain)).hexdigest()

    def problem(self) -> str | None:
        """Return what is wrong with it, or None: its files are the day's own, in their places."""
        if self.schema not in (MANIFEST, _UNSEALED):
            return f"is of another version: {self.schema}"
        if self.schema == MANIFEST and self.seal != self._hash():
            return "is not as it was written"
        for kind, entry in self.raw.items():
            when = stamp_of(entry.name) or ""
            if kind not in RAW or entry.name not in (
                raw_name(kind, self.date, when),
                raw_name(kind, self.date, when, True),
            ):
                return f"names what is no {kind} document of {self.date}: {entry.name}"
        for table, entry in self.curated.items():
            when = stamp_of(entry.name) or ""
            if table not in TABLES or entry.name != curated_name(table, self.date, when):
                return f"names what is no {table} of {self.date}: {entry.name}"
        wanted = {name for kind in self.raw for name in REQUIRED.get(kind, ())}
        if "usage" not in self.raw or wanted != set(self.curated):
            return f"names the tables {sorted(self.curated)}, and raw for {sorted(wanted)}"
        return None


def later_stamp(manifest: Manifest) -> str:
    """Return a timestamp of now that is later than a snapshot's, even by a clock turned back."""
    now = stamp(utc_now())
    if now > manifest.stamp:
        return now
    last = dt.datetime.strptime(manifest.stamp, "%Y%m%dT%H%M%S%fZ").replace(tzinfo=dt.UTC)
    return stamp(last + dt.timedelta(microseconds=1))


def load_manifests(
    storage: Storage, problems: list[str] | None = None
) -> dict[dt.date, list[Manifest]]:
    """Return every day's snapshots, oldest first.

    A manifest that is damaged, in another's place, or names what is not its own is told in
    `problems`; without these it is a LakeError, for what the lake says cannot be known.
    """
    names = [name for name in storage.list(MANIFESTS) if _NAME.fullmatch(name)]
    days: dict[dt.date, list[Manifest]] = {}
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        for name, data in zip(names, pool.map(storage.read, names), strict=True):
            found = _manifest(name, data)
            if isinstance(found, Manifest):
                days.setdefault(found.date, []).append(found)
                continue
            sentence = (
                f"{name} {found}; restore it, or remove it and run anthropic-usage lake rebuild"
            )
            if problems is None:
                raise LakeError(sentence)
            problems.append(sentence)
    for snapshots in days.values():
        snapshots.sort(key=lambda manifest: manifest.stamp)
    return dict(sorted(days.items()))


def _manifest(name: str, data: bytes) -> Manifest | str:
    """Return a manifest, or what is wrong with it."""
    try:
        found = msgspec.json.decode(data, type=Manifest)
        if found.name != name:
            return f"is the manifest of {found.date}, {found.stamp}: a file was copied or renamed"
        return found.problem() or found
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        return f"is damaged: {error}"


def read_raw(storage: Storage, entry: FileEntry, day: dt.date) -> tuple[Read, ...]:
    """Return the readings of a day's raw document; raises LakeError unless it is intact."""
    return unpack(read_checked(storage, entry), entry.name, day)


def read_checked(storage: Storage, entry: FileEntry) -> bytes:
    """Return a file's bytes; raises LakeError unless they are those that were written."""
    data = storage.read(entry.name)
    if not entry.describes(data):
        raise LakeError(not_intact(entry.name))
    return data


def check(storage: Storage, entries: Iterable[FileEntry]) -> None:
    """Raise LakeError unless all files are as they were written."""
    found = list(entries)
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        digests = pool.map(storage.digest, [entry.name for entry in found])
        for entry, digest in zip(found, digests, strict=True):
            if digest != entry.sha256:
                raise LakeError(not_intact(entry.name))


def not_intact(name: str) -> str:
    """Say that a file was changed, and what to do."""
    if name.startswith(CURATED):
        return f"{name} is not as it was written: run anthropic-usage lake rebuild"
    day = day_of(name)
    return f"{name} is not as it was written: run anthropic-usage-track --date {day}"


def is_intact(storage: Storage, entry: FileEntry) -> bool:
    """Whether a file is there as it was written."""
    try:
        return storage.digest(entry.name) == entry.sha256
    except LakeError:
        return False


def newest(days: dict[dt.date, list[Manifest]]) -> dict[dt.date, Manifest]:
    """Return the snapshot that counts of each day."""
    return {day: snapshots[-1] for day, snapshots in days.items()}


def current(storage: Storage) -> dict[dt.date, Manifest]:
    """Return the snapshot that counts of each day, of a lake that is there.

    Raises LakeError if there is none, or if a day has a later one whose manifest is lost: what an
    earlier one says is not what the API said last.
    """
    # In this order: what somebody finishes meanwhile has either its mark or its manifest.
    documents = storage.list(_RAW)
    unfinished = {(day, when) for _, day, when in pending(storage)}
    found = newest(load_manifests(storage))
    for name in documents:
        day, when = day_of(name), stamp_of(name)
        if day is None or when is None or (day, when) in unfinished:
            continue
        if (day not in found or found[day].stamp < when) and name in storage.list(_RAW):
            raise LakeError(
                f"the manifest of {name} is lost: run anthropic-usage lake rebuild, or restore it "
                "(or remove the document, if it is not to count)"
            )
    if not found:
        raise LakeError(f"{storage} holds no lake yet: run anthropic-usage-track with this root")
    return found


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
        filters: dict[str, Any] = {"speeds": "fast"} if self.fast else {}
        return REGISTRY[self.report].ask(day, day + DAY, group_by=self.group_by, **filters)


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


def unpack(data: bytes, name: str, day: dt.date | None = None) -> tuple[Read, ...]:
    """Return the readings of a raw document; raises LakeError for another or damaged one."""
    if name.endswith(".zst"):
        data = decompress(data, name)
    try:
        document = msgspec.json.decode(data, type=_RawDocument)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise LakeError(f"{name} is damaged: {error}") from None
    if document.schema != SCHEMA:
        raise LakeError(f"{name} is of another version: {document.schema}")
    if day is not None and document.date != day:
        raise LakeError(f"{name} is a document of {document.date}")
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
            page=query.decode(page.body),
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
