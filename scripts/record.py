"""Record the cassettes anew: `make record`.

Without a key they are recorded from the simulator, over real HTTP on 127.0.0.1, with the host
rewritten to the real one; the simulator's clock stands still, so the same cassettes come out each
time (`--check` proves it). With ANTHROPIC_ADMIN_API_KEY set, `--live` asks the live API and scrubs
keys, emails, ids, names and the organisation.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import filecmp
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from anthropic_usage import AnthropicUsageError, Retry, UsageClient
from anthropic_usage.engine import flow
from anthropic_usage.moments import utc_now
from anthropic_usage.simulator import Simulator
from cassettes import FOLDER, Scrubber, recorder, run_command
from scenarios import NOW, Recording, Scenario, catalogue

README = """\
# Cassettes

{source}

`make record` records them anew; `scripts/scenarios.py` says what each of them asks. The host in
them is the real one, so that they replay as the live API would answer.
"""
SIMULATED = """\
**These are answers of this project's own simulator, not recordings of the live API.** No key was
at hand when they were made; the shapes follow Anthropic's documentation and its published answers
(`tests/samples`)."""
LIVE = """\
Recorded from the live API on {day}. Keys, emails, ids, names and the organisation are replaced by
pseudonyms; numbers are as they were."""


def ask(scenario: Scenario, at: Recording, options: dict[str, Any]) -> list[Any]:
    """Put a scenario's question; returns its rows or items. Errors it is meant to end in pass."""
    if scenario.command:
        names = {"api_key": "ANTHROPIC_ADMIN_API_KEY", "base_url": "ANTHROPIC_BASE_URL"}
        given = {names[name]: value for name, value in options.items() if value}
        code, stdout, stderr = run_command(scenario.command, given)
        if code not in (0, 3):
            raise SystemExit(f"{scenario.name} ended with {code}: {stderr}")
        return [stdout]
    retry = Retry(attempts=scenario.attempts, base=0.001)
    with UsageClient(**options, concurrency=1, retry=retry, clock=lambda: at.now) as client:
        if scenario.requests:
            return [_send(client, request) for request in scenario.requests]
        try:
            answer = getattr(client, scenario.call)(**scenario.options)
            return list(answer) if scenario.is_report else [answer]
        except AnthropicUsageError as error:
            if type(error).__name__ != scenario.error:
                raise
            return []


def _send(client: UsageClient, request: dict[str, Any]) -> Any:
    """Send a generated request as it is."""
    headers = dict(request["headers"])
    client.settings.credentials.apply(headers)
    base_url = client.settings.base_url
    answer = httpx.get(base_url + request["url"], params=request["params"], headers=headers)
    answer.raise_for_status()
    return answer.json()


def record(
    folder: Path, at: Recording, address: dict[str, Any], sim: Simulator | None, live: bool
) -> None:
    """Record every scenario into `folder`."""
    scrubber = Scrubber() if live else None
    tape = recorder(folder, "all", scrubber)
    for scenario in catalogue(at):
        if scenario.oauth and "oauth_token" not in address:
            print(f"{scenario.name}: skipped, it needs ANTHROPIC_OAUTH_TOKEN")
            continue
        options = {key: value for key, value in address.items() if key != "oauth_token"}
        if scenario.oauth:
            options = {"oauth_token": address["oauth_token"], "base_url": address["base_url"]}
        if sim is not None:
            sim.faults = scenario.faults
        elif scenario.faults:
            print(f"{scenario.name}: skipped, the live API does not fail on demand")
            continue
        with tape.use_cassette(scenario.name), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ask(scenario, at, options)
    known = {name: scrubber.text(value) for name, value in at.ids.items()} if scrubber else at.ids
    said = Recording(source="live" if live else "simulator", now=at.now, ids=known)
    (folder / "recording.json").write_text(said.as_json())
    source = LIVE.format(day=f"{at.now:%Y-%m-%d}") if live else SIMULATED
    (folder / "README.md").write_text(README.format(source=source))


def find_ids(client: UsageClient, now: dt.datetime) -> dict[str, str]:
    """Return one id of each kind, for the scenarios' filters."""
    yesterday = now - dt.timedelta(days=1)
    models = client.usage(yesterday, now, group_by="model").by("model")
    if not models:
        raise SystemExit(
            "the organisation used nothing since yesterday: there is nothing to record"
        )
    keys = [key for key in client.api_keys() if isinstance(key.workspace_id, str)]
    users = client.users()
    used = client.usage(yesterday, now, group_by="service_account_id").by("service_account_id")
    accounts = [row.service_account_id for row in used if row.service_account_id]
    if not keys:
        raise SystemExit("no API key belongs to a workspace: there is nothing to filter by")
    return {
        "api_key": keys[0].id,
        "workspace": str(keys[0].workspace_id),
        "user": users[0].id,
        "email": str(users[0].email),
        "service_account": accounts[0] if accounts else "svac_none",
        "model": str(models[0].model),
    }


@contextlib.contextmanager
def simulated() -> Iterator[tuple[Recording, dict[str, Any], Simulator]]:
    """Serve the organisation that is recorded."""
    sim = Simulator(seed=1, size=0.3, days=120, now=NOW)
    with sim.serve() as server:
        address = {
            "api_key": Simulator.DEMO_KEY,
            "oauth_token": Simulator.DEMO_TOKEN,
            "base_url": server.url,
        }
        with UsageClient(Simulator.DEMO_KEY, base_url=server.url) as client:
            ids = find_ids(client, NOW)
        yield Recording(source="simulator", now=NOW, ids=ids), address, sim


def replace(folder: Path, made: Path) -> None:
    """Put the new cassettes in the place of the old ones."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    shutil.move(made, folder)
    shutil.rmtree(old, ignore_errors=True)


def differences(one: Path, other: Path) -> list[str]:
    """Return the files that are not the same in both folders."""
    names = {path.name for folder in (one, other) for path in folder.iterdir() if path.is_file()}
    _, changed, missing = filecmp.cmpfiles(one, other, names, shallow=False)
    return sorted([*changed, *missing])


def main() -> int:
    """Record, or check that recording changes nothing."""
    flow.STALE = dt.timedelta.max / 2  # the simulator lives in a time of its own
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--live", action="store_true", help="record the live API, scrubbed")
    parser.add_argument("--check", action="store_true", help="only say what would change")
    parser.add_argument("--into", type=Path, default=FOLDER, help="another folder")
    options = parser.parse_args()
    key = os.environ.get("ANTHROPIC_ADMIN_API_KEY")
    if options.live and not key:
        parser.error("--live needs ANTHROPIC_ADMIN_API_KEY")
    if key and not options.live and not options.check:
        print("a key is set: recording the live API, scrubbed (unset it for the simulator)")
        options.live = True
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "cassettes"
        made.mkdir()
        if options.live:
            now = utc_now()
            address = {"api_key": key, "base_url": os.environ.get("ANTHROPIC_BASE_URL")}
            if token := os.environ.get("ANTHROPIC_OAUTH_TOKEN"):
                address["oauth_token"] = token
            with UsageClient() as client:
                at = Recording(source="live", now=now, ids=find_ids(client, now))
            record(made, at, address, None, live=True)
        else:
            with simulated() as (at, address, sim):
                record(made, at, address, sim, live=False)
        if options.check:
            changed = differences(made, options.into)
            print("\n".join(f"differs: {name}" for name in changed) or "nothing would change")
            return 1 if changed else 0
        count = len(list(made.glob("*.json"))) - 1
        replace(options.into, made)
    print(f"recorded {count} cassettes into {options.into}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
