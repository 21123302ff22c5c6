"""What the tests of the lake name."""

from __future__ import annotations

from collections.abc import Callable

KEY = "sk-ant-admin01-MARKER-nobody-sees"
Run = Callable[..., tuple[int, str, str]]
