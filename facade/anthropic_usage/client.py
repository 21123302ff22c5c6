"""The clients: one method a report or lookup, the same for blocking and for async code."""

from __future__ import annotations

import abc
import contextlib
import functools
import os
import ssl
import threading
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

from anthropic_admin_client.models.api_key import ApiKey
from anthropic_admin_client.models.bucket_width import BucketWidth
from anthropic_admin_client.models.cost_bucket_width import CostBucketWidth
from anthropic_admin_client.models.organization import Organization
from anthropic_admin_client.models.service_account import ServiceAccount
from anthropic_admin_client.models.user import User
from anthropic_admin_client.models.workspace import Workspace

from . import lookups
from .credentials import Credentials
from .engine.flow import Flow, Retry, check_number, walk
from .engine.local import LocalQuery, async_local_parts, local_parts, refuse_zone
from .engine.plan import windows
from .engine.report import AsyncReport, Report
from .engine.transport import (
    AsyncBaseTransport,
    Engine,
    Listener,
    Portal,
    Settings,
    closed_error,
    engine_here,
    pages_of,
)
from .errors import AnthropicUsageError, InvalidQuery
from .moments import Clock, Moment, parse_moment, rfc3339, utc_now
from .reports import (
    CLAUDE_CODE,
    COST,
    USAGE,
    ClaudeCodeRow,
    CostRow,
    Many,
    Part,
    Query,
    UsageRow,
    check_version,
)
from .reports.dimensions import CostDimensions, UsageDimensions
from .zones import ZoneName

__all__ = ["AsyncUsageClient", "UsageClient"]

API_VERSION = "2023-06-01"
MOST_REQUESTS = 3000
"""More requests than this a report is not asked with, unless the client is told otherwise."""

U = TypeVar("U")
C = TypeVar("C")
D = TypeVar("D")


class _Reports(abc.ABC, Generic[U, C, D]):
    """The reports, once for both clients."""

    def __init__(
        self,
        api_key: str | None = None,
        *,
        oauth_token: str | None = None,
        base_url: str | None = None,
        anthropic_version: str = API_VERSION,
        timeout: float = 60.0,
        concurrency: int = 4,
        max_in_flight_mb: float = 64.0,
        retry: Retry | None = None,
        listener: Listener | None = None,
        clock: Clock | None = None,
        allow_http: bool | None = None,
        max_requests: int = MOST_REQUESTS,
        proxy: str | None = None,
        verify: Literal[True] | str | ssl.SSLContext = True,
        transport: AsyncBaseTransport | None = None,
    ) -> None:
        """Make a client; nothing is sent yet.

        Args:
            api_key: an Admin API key; else `ANTHROPIC_ADMIN_API_KEY`, then `ANTHROPIC_ADMIN_KEY`.
            oauth_token: a token with `org:admin`, sent as a Bearer; else `ANTHROPIC_OAUTH_TOKEN`,
                where no key is set.
            base_url: else `ANTHROPIC_BASE_URL`, else https://api.anthropic.com.
            anthropic_version: the `anthropic-version` header.
            timeout: seconds to wait for an answer.
            concurrency: how many requests may be under way at once; all of them slow down together
                when the API answers 429.
            max_in_flight_mb: how many megabytes of answers may be held before they are consumed.
            retry: how long to keep trying.
            listener: is told of every wait and every page, for progress bars.
            clock: the time of day, where the API's `Date` header does not say it.
            allow_http: send the key unencrypted to another machine; else
                `ANTHROPIC_USAGE_ALLOW_HTTP=1`. This machine's own addresses need it not.
            max_requests: refuse a report that would take more.
            proxy: the proxy to ask through; else `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`.
            verify: a file or folder of certificates to trust, or an `ssl.SSLContext` that checks;
                else `SSL_CERT_FILE`, `SSL_CERT_DIR`, and certifi's certificates.
            transport: an `httpx.AsyncBaseTransport` to send by, for both clients; it is closed with
                the client.

        Raises:
            AuthenticationError: there is no key.
            InvalidQuery: the base URL, the version, a number, or what the environment says of
                proxies and certificates, is none that can be used.
        """
        problem: Exception | None = None
        try:
            settings = Settings(
                credentials=Credentials.find(api_key, oauth_token),
                base_url=base_url,
                timeout=timeout,
                concurrency=concurrency,
                max_in_flight_mb=max_in_flight_mb,
                listener=listener,
                allow_http=allow_http,
                proxy=proxy,
                verify=verify,
                transport=transport,
            )
            check_number("max_requests", max_requests, 1)
            if retry is not None and not isinstance(retry, Retry):
                raise InvalidQuery("retry is no Retry")
            if clock is not None and not callable(clock):
                raise InvalidQuery("clock is no function that returns a datetime")
            version = check_version(anthropic_version)
        except AnthropicUsageError as error:
            problem = type(error)(*error.args)
        except Exception as error:
            problem = InvalidQuery(f"an argument cannot be used ({type(error).__name__})")
        # No frame of a traceback may hold the key, nor what was taken for something else.
        del api_key, oauth_token, base_url, anthropic_version, proxy
        if problem is not None:
            raise problem
        self._settings = settings
        self._version = version
        self._retry = retry or Retry()
        self._clock = clock or utc_now
        self._max_requests = max_requests
        self._connect()

    def usage(
        self,
        starting_at: Moment,
        ending_at: Moment | None = None,
        *,
        bucket_width: BucketWidth = "1d",
        group_by: UsageDimensions = (),
        models: Many | None = None,
        api_key_ids: Many | None = None,
        workspace_ids: Many | None = None,
        service_tiers: Many | None = None,
        context_window: Many | None = None,
        inference_geos: Many | None = None,
        account_ids: Many | None = None,
        service_account_ids: Many | None = None,
        speeds: Many | None = None,
        timezone: ZoneName | None = None,
        limit: int | None = None,
        strict: bool = True,
    ) -> U:
        """Return the tokens used through the Messages API, as a lazy report of `UsageRow`.

        Args:
            starting_at: datetime, date, RFC 3339 or `YYYY-MM-DD`; naive is UTC. Every bucket that
                the range touches is in the report.
            ending_at: exclusive; now, if left out.
            bucket_width: `1d`, `1h` or `1m`.
            group_by: at most five of the row's dimensions. `speed` is a beta of Anthropic's, whose
                header is added.
            models, api_key_ids, workspace_ids, service_tiers, context_window, inference_geos,
                account_ids, service_account_ids, speeds: only use that matches one of these.
            timezone: a name such as `Europe/Berlin`: days, weeks and months are those of its
                clocks, naive moments are on them, and so are the rows' `starting_at` and
                `ending_at`, with the offset of that moment. Hours are read and added up, minutes
                where the zone is not whole hours from UTC: a request a day.
            limit: buckets a page; the width's maximum, if left out. The report is always read to
                its end.
            strict: refuse a report with a hole; with False, warn.

        Raises:
            InvalidQuery: an argument the API would refuse or misread. Nothing was sent.

        Source: platform.claude.com, api/admin/usage_report. Data appears within about 5 minutes.
        """
        ask = USAGE.ask
        if timezone is not None:
            ask = functools.partial(LocalQuery.ask, USAGE, timezone)
        query = ask(
            starting_at,
            self._now(starting_at) if ending_at is None else ending_at,
            bucket_width=bucket_width,
            group_by=group_by,
            models=models,
            api_key_ids=api_key_ids,
            workspace_ids=workspace_ids,
            service_tiers=service_tiers,
            context_window=context_window,
            inference_geos=inference_geos,
            account_ids=account_ids,
            service_account_ids=service_account_ids,
            speeds=speeds,
            limit=limit,
            strict=strict,
            anthropic_version=self._version,
        )
        report: U = self.report(query)
        return report

    def cost(
        self,
        starting_at: Moment,
        ending_at: Moment | None = None,
        *,
        bucket_width: CostBucketWidth = "1d",
        group_by: CostDimensions = (),
        timezone: ZoneName | None = None,
        limit: int | None = None,
        strict: bool = True,
    ) -> C:
        """Return the billed dollars, as a lazy report of `CostRow`; completed UTC days only.

        Args:
            starting_at, ending_at, strict: as for `usage`.
            bucket_width: `1d`, the only one.
            group_by: `workspace_id`, `description`, or both. The description brings cost type,
                model, token type, service tier, context window and geography with it.
            timezone: refused, unless its days are those of UTC: the bill has no others.
            limit: days a page, at most 31.

        Raises:
            InvalidQuery: as for `usage`; on reading, also if no day of the range has closed yet.

        Source: platform.claude.com, api/admin/cost_report. Priority Tier costs are never in it.
        """
        end = self._now(starting_at) if ending_at is None else ending_at
        refuse_zone(timezone, starting_at, end, COST.whole_days)
        query = COST.ask(
            starting_at,
            end,
            bucket_width=bucket_width,
            group_by=group_by,
            limit=limit,
            strict=strict,
            anthropic_version=self._version,
        )
        report: C = self.report(query)
        return report

    def claude_code(
        self,
        starting_at: Moment,
        ending_at: Moment | None = None,
        *,
        timezone: ZoneName | None = None,
        limit: int | None = None,
    ) -> D:
        """Return what Claude Code did, as a lazy report of `ClaudeCodeRow`; a request a UTC day.

        Args:
            starting_at, ending_at: a range of days, the end exclusive; to now, if left out.
            timezone: refused, unless its days are those of UTC: a record says no hour.
            limit: records a page, at most 1000.

        Raises:
            InvalidQuery: an argument the API would refuse or misread. Nothing was sent.

        Source: platform.claude.com, manage-claude/claude-code-analytics-api. Data appears within
        about an hour. Its estimated cost overlaps the cost report: never add the two.
        """
        end = self._now(starting_at) if ending_at is None else ending_at
        refuse_zone(timezone, starting_at, end, CLAUDE_CODE.whole_days)
        query = CLAUDE_CODE.ask(
            starting_at,
            end,
            limit=limit,
            anthropic_version=self._version,
        )
        report: D = self.report(query)
        return report

    @property
    def settings(self) -> Settings:
        """Where and how this client asks; its credentials never show the key."""
        return self._settings

    @abc.abstractmethod
    def _connect(self) -> None:
        """Make the transport; nothing is sent."""

    @abc.abstractmethod
    def report(self, query: Query) -> Any:
        """Return the lazy report of a query made before."""

    def _now(self, starting_at: Moment) -> Moment:
        """Return the end of a range that has none; raises InvalidQuery if it would be reversed."""
        now, start = self._clock(), parse_moment(starting_at, "starting_at")
        if start > now:
            raise InvalidQuery(
                f"starting_at (--since) {rfc3339(start)} lies in the future: "
                "not one day of it exists yet"
            )
        return now

    def _check(self, query: Query) -> None:
        """Refuse a report of unreasonably many requests; raises InvalidQuery."""
        requests = query.requests(self._clock())
        if requests > self._max_requests:
            raise InvalidQuery(
                f"from {query.starting_at.date()} on it would take {requests:,} requests, more "
                f"than {self._max_requests:,}: start later, take wider buckets, or ask in parts"
            )

    def _walks(self, query: Query) -> Iterator[Flow]:
        for window in windows(query, self._clock()):
            yield walk(query, window, self._retry, self._clock)

    def _lookup(self, lookup: Callable[..., Flow], **options: Any) -> Flow:
        return lookup(self._version, self._retry, self._clock, **options)

    def __repr__(self) -> str:
        settings = getattr(self, "_settings", None)
        if settings is None:
            return f"<{type(self).__name__}, not made yet>"
        return f"<{type(self).__name__} {settings.base_url} {settings.credentials!r}>"


class UsageClient(
    _Reports[Report[UsageRow], Report[CostRow], Report[ClaudeCodeRow]],
):
    """Anthropic's usage, cost and Claude Code reports, over blocking I/O.

    Use it in a `with` statement, or call `close()`. See `usage`, `cost` and `claude_code` for the
    reports; lookups return lists of the generated models, read to their end.
    """

    def organization(self) -> Organization:
        """Return the organization that the key belongs to."""
        organization: Organization = self._list(self._lookup(lookups.organization))[0]
        return organization

    def workspaces(
        self,
        *,
        include_archived: bool = True,
        include_default: bool = False,
        limit: int | None = None,
    ) -> list[Workspace]:
        """Return the workspaces, archived ones too, since past reports name them."""
        options = {"include_archived": include_archived, "include_default": include_default}
        return self._list(self._lookup(lookups.workspaces, limit=limit, **options))

    def api_keys(
        self,
        *,
        status: str | None = None,
        workspace_id: str | None = None,
        created_by_user_id: str | None = None,
        limit: int | None = None,
    ) -> list[ApiKey]:
        """Return the API keys: ids, names, hints; never the keys."""
        options = {"status": status, "workspace_id": workspace_id}
        options["created_by_user_id"] = created_by_user_id
        return self._list(self._lookup(lookups.api_keys, limit=limit, **options))

    def users(self, *, email: str | None = None, limit: int | None = None) -> list[User]:
        """Return the members of the organization."""
        return self._list(self._lookup(lookups.users, limit=limit, email=email))

    def service_accounts(self, *, limit: int | None = None) -> list[ServiceAccount]:
        """Return the service accounts; the API wants an OAuth token for them, not an Admin key."""
        return self._list(self._lookup(lookups.service_accounts, limit=limit))

    def close(self) -> None:
        """Close all connections; whoever still reads gets an AnthropicUsageError."""
        self._closed = True
        portal, self._portal = self._portal, None
        if portal is not None and portal.process == os.getpid():
            portal.close(self._engine)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    _portal: Portal | None = None

    def _connect(self) -> None:
        self._engine = Engine(self._settings)
        self._closed = False
        self._lock = threading.Lock()

    def report(self, query: Query) -> Report[Any]:
        """Return the lazy report of a query made before; raises InvalidQuery if it is too long."""
        if isinstance(query, LocalQuery):
            whole = self.report(query.source)
            return Report(query, lambda: local_parts(query, whole.parts()), again=self.report)
        self._check(query)

        def source() -> Generator[Part]:
            portal = self._ready()
            yield from pages_of(portal, lambda: self._engine.read(self._walks(query)))

        def drive(take: Callable[[Part], None]) -> None:
            self._ready().run(lambda: self._all(query, take))

        return Report(query, source, drive, self.report)

    async def _all(self, query: Query, take: Callable[[Part], None]) -> None:
        """Hand all parts to a function that does not block; this runs in the portal."""
        async with contextlib.aclosing(self._engine.read(self._walks(query))) as parts:
            async for part in parts:
                take(part)
                del part  # or it would be kept while the next one is fetched

    def _list(self, flow: Flow) -> list[Any]:
        return self._ready().run(lambda: _listed(self._engine, flow))

    def _ready(self) -> Portal:
        """Return the thread that asks, started by now; after a fork the child has its own."""
        if self._closed:
            raise closed_error()
        portal = self._portal
        if portal is not None and portal.process == os.getpid():
            return portal
        if portal is not None:
            # The parent's sockets and its selector are not to be touched, not even to close them.
            _OF_PARENTS.append((portal, self._engine))
            self._lock, self._portal, self._engine = threading.Lock(), None, Engine(self._settings)
        with self._lock:
            if self._portal is None:
                self._portal = Portal()
            return self._portal


class AsyncUsageClient(
    _Reports[AsyncReport[UsageRow], AsyncReport[CostRow], AsyncReport[ClaudeCodeRow]],
):
    """The same as `UsageClient` over asyncio: `async with`, `async for` and `await`."""

    async def organization(self) -> Organization:
        """See `UsageClient.organization`."""
        organization: Organization = (await self._list(self._lookup(lookups.organization)))[0]
        return organization

    async def workspaces(
        self,
        *,
        include_archived: bool = True,
        include_default: bool = False,
        limit: int | None = None,
    ) -> list[Workspace]:
        """See `UsageClient.workspaces`."""
        options = {"include_archived": include_archived, "include_default": include_default}
        return await self._list(self._lookup(lookups.workspaces, limit=limit, **options))

    async def api_keys(
        self,
        *,
        status: str | None = None,
        workspace_id: str | None = None,
        created_by_user_id: str | None = None,
        limit: int | None = None,
    ) -> list[ApiKey]:
        """See `UsageClient.api_keys`."""
        options = {"status": status, "workspace_id": workspace_id}
        options["created_by_user_id"] = created_by_user_id
        return await self._list(self._lookup(lookups.api_keys, limit=limit, **options))

    async def users(self, *, email: str | None = None, limit: int | None = None) -> list[User]:
        """See `UsageClient.users`."""
        return await self._list(self._lookup(lookups.users, limit=limit, email=email))

    async def service_accounts(self, *, limit: int | None = None) -> list[ServiceAccount]:
        """See `UsageClient.service_accounts`."""
        return await self._list(self._lookup(lookups.service_accounts, limit=limit))

    async def aclose(self) -> None:
        """Close all connections; whoever still reads gets an AnthropicUsageError."""
        self._closed = True
        if self._home is None:
            await self._engine.aclose()
            return
        home = self._home
        engine, self._home = engine_here(self._engine, home, self._settings)
        await engine.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    _home: object = None

    def _connect(self) -> None:
        self._engine = Engine(self._settings)
        self._closed = False

    def report(self, query: Query) -> AsyncReport[Any]:
        """Return the lazy report of a query made before; raises InvalidQuery if it is too long."""
        if isinstance(query, LocalQuery):
            whole = self.report(query.source)
            return AsyncReport(query, lambda: async_local_parts(query, whole.parts()), self.report)
        self._check(query)
        return AsyncReport(query, lambda: self._here().read(self._walks(query)), self.report)

    async def _list(self, flow: Flow) -> list[Any]:
        return await _listed(self._here(), flow)

    def _here(self) -> Engine:
        """Return the engine of the running loop; raises AnthropicUsageError."""
        if self._closed:
            raise closed_error()
        before = self._engine
        self._engine, self._home = engine_here(self._engine, self._home, self._settings)
        if before is not self._engine:
            _OF_PARENTS.append(before)
        return self._engine


_OF_PARENTS: list[Any] = []
"""What belongs to a loop that is closed or to the process this one was forked from: kept, since
even its end would touch sockets that are not ours."""


async def _listed(engine: Engine, flow: Flow) -> list[Any]:
    """Return what a lookup holds."""
    async with contextlib.aclosing(engine.read([flow])) as lists:
        return [item async for items in lists for item in items]
