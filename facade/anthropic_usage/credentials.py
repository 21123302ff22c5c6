"""Where the key comes from, and the one object that holds it without ever showing it."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import TypeVar

from .errors import AuthenticationError, warn

__all__ = ["KEY_VARIABLES", "OAUTH_VARIABLE", "Credentials"]

KEY_VARIABLES = ("ANTHROPIC_ADMIN_API_KEY", "ANTHROPIC_ADMIN_KEY")
OAUTH_VARIABLE = "ANTHROPIC_OAUTH_TOKEN"
_ADMIN_PREFIX = "sk-ant-admin"

E = TypeVar("E", bound=Exception)


class Credentials:
    """An Admin API key (sent as `x-api-key`) or an OAuth token (sent as a Bearer).

    The secret lives in a closure, so neither `repr`, `vars`, pickling nor a debugger's view of
    attributes shows it.
    """

    __slots__ = ("_apply", "_redact", "kind", "source")

    def __init__(self, secret: str, *, oauth: bool = False, source: str = "argument") -> None:
        if not isinstance(secret, str):
            raise AuthenticationError(f"the key from {source} is no text")
        secret = secret.strip()
        if not secret:
            raise AuthenticationError(f"the key from {source} is empty")
        if not all(33 <= ord(character) <= 126 for character in secret):
            raise AuthenticationError(
                f"the key from {source} holds characters that no key has; copy it again"
            )
        self.source = source
        self.kind = "OAuth token" if oauth else "Admin API key"
        if not oauth and not secret.startswith(_ADMIN_PREFIX):
            warn(
                f"the key from {source} does not start with {_ADMIN_PREFIX}: "
                "the reports need an Admin API key, not one for inference"
            )
        self._apply = _bearer(secret) if oauth else _key(secret)
        self._redact = _redactor(secret)

    @classmethod
    def find(
        cls,
        api_key: str | None = None,
        oauth_token: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Credentials:
        """Return what was given, else what the environment holds; raises AuthenticationError."""
        try:
            return cls._find(api_key, oauth_token, environ)
        except AuthenticationError as error:
            problem = str(error)
        # Raised anew, so that no frame of the traceback holds the key or the environment.
        del api_key, oauth_token, environ
        raise AuthenticationError(problem)

    @classmethod
    def _find(
        cls, api_key: str | None, oauth_token: str | None, environ: Mapping[str, str] | None
    ) -> Credentials:
        if api_key is not None:
            return cls(api_key, source="api_key")
        if oauth_token is not None:
            return cls(oauth_token, oauth=True, source="oauth_token")
        environ = os.environ if environ is None else environ
        for name in KEY_VARIABLES:
            if environ.get(name, "").strip():
                return cls(environ[name], source=name)
        if environ.get(OAUTH_VARIABLE, "").strip():
            return cls(environ[OAUTH_VARIABLE], oauth=True, source=OAUTH_VARIABLE)
        raise AuthenticationError(
            f"no key: set {KEY_VARIABLES[0]} to an Admin API key (Console, Settings, Admin keys), "
            "or try --demo"
        )

    def apply(self, headers: MutableMapping[str, str]) -> None:
        """Put the secret into a request's headers."""
        self._apply(headers)

    def redact(self, text: bytes) -> bytes:
        """Return the text without the secret, should an answer have echoed it."""
        return self._redact(text)

    def scrubbed(self, error: E) -> E:
        """Return an error without the secret in anything that it says."""

        def clean(value: object) -> object:
            if not isinstance(value, str):
                return value
            return self._redact(value.encode(errors="surrogatepass")).decode(errors="surrogatepass")

        error.args = tuple(clean(arg) for arg in error.args)
        for name, value in vars(error).items():
            setattr(error, name, clean(value))
        return error

    def __repr__(self) -> str:
        kind, source = getattr(self, "kind", "none"), getattr(self, "source", "nowhere")
        return f"<Credentials: {kind} from {source}>"

    def __reduce__(self) -> str:
        raise TypeError("credentials are not pickled")


def _key(secret: str) -> Callable[[MutableMapping[str, str]], None]:
    def apply(headers: MutableMapping[str, str]) -> None:
        headers["x-api-key"] = secret

    return apply


def _bearer(secret: str) -> Callable[[MutableMapping[str, str]], None]:
    def apply(headers: MutableMapping[str, str]) -> None:
        headers["authorization"] = f"Bearer {secret}"

    return apply


def _redactor(secret: str) -> Callable[[bytes], bytes]:
    """Return what takes the secret out, however an answer may have written it."""
    each = "".join(f"(?:{part})" for part in _signs(secret))
    basic = [base64.b64encode(form.encode()).rstrip(b"=") for form in (secret, f"{secret}:")]
    pattern = re.compile(each.encode(), re.IGNORECASE)

    def redact(text: bytes) -> bytes:
        text = pattern.sub(b"[key]", text)
        for spelling in basic:
            text = text.replace(spelling, b"[key]")
        return text

    return redact


def _signs(secret: str) -> Iterator[str]:
    """Yield a pattern a sign: itself, or as JSON, a URL or a backslash may write it."""
    for sign in secret:
        code = ord(sign)
        yield rf"\\?{re.escape(sign)}|%{code:02x}|\\+u{code:04x}"
