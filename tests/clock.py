"""The shared simulators' clock, which stands still."""

import datetime as dt

NOW = dt.datetime(2026, 11, 20, 15, 7, 30, tzinfo=dt.UTC)
