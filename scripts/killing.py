"""Kill an export at random moments until it has nothing left to do."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import attrs
from anthropic_usage.simulator import Simulator

__all__ = ["Kills", "kill_until_done"]

QUESTION = (
    *("export", "usage", "--since", "2026-01-01", "--until", "2026-11-10"),
    *("--bucket-width", "1h", "--group-by", "model,workspace_id", "--no-progress"),
)


@attrs.frozen(kw_only=True)
class Kills:
    """How it went."""

    killed: int
    runs: int


def kill_until_done(url: str, folder: Path, kills: int, seed: int) -> Kills:
    """Export into `folder/whole` in peace, and into `folder/killed` under `kill -9`.

    Each run but the last is killed at a random moment of the time that a whole run takes; one that
    ends before it is killed is begun anew in an empty folder, so that `kills` kills are reached.
    """
    dice = random.Random(seed)
    begun = time.monotonic()
    _export(url, folder / "whole").wait()
    whole = time.monotonic() - begun
    killed = runs = 0
    while killed < kills:
        runs += 1
        running = _export(url, folder / "killed")
        try:
            running.wait(timeout=dice.uniform(0.0, whole))
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
            killed += 1
        else:
            for file in (folder / "killed").iterdir():
                file.unlink()
    done = _export(url, folder / "killed")
    if done.wait() != 0:
        raise RuntimeError("the export did not end well after it was killed")
    return Kills(killed=killed, runs=runs + 1)


def _export(url: str, out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "anthropic_usage", *QUESTION, "--out", str(out)],
        env={"ANTHROPIC_BASE_URL": url, "ANTHROPIC_ADMIN_API_KEY": Simulator.DEMO_KEY},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
