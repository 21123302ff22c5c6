"""Where the key comes from, and the one object that holds it without ever showing it."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Mapping, MutableMapping

from .errors import AuthenticationError, InvalidQuery, warn

__all__ = ["KEY_VARIABLES", "OAUTH_VARIABLE", "Credentials"]

KEY_VARIABLES = ("ANTHROPIC_ADMIN_API_KEY", "ANTHROPIC_ADMIN_KEY")
OAUTH_VARIABLE = "ANTHROPIC_OAUTH_TOKEN"
_ADMIN_PREFIX = "sk-ant-admin"


class Credentials:
    """An Admin API key (sent as `x-api-key`) or an OAuth token (sent as a Bearer).

    The secret lives in a closure, so neither `repr`, `vars`, pickling nor a debugger's view of
    attributes shows it.
    """

    __slots__ = ("_apply", "_redact", "kind", "source")

    def __init__(self, secret: str, *, oauth: bool = False, source: str = "argument") -> None:
        if not isinstance(secret, str):
            raise InvalidQuery(f"the key from {source} is no text")
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
            self.kind = "API key that is no Admin key by its prefix"
        if not oauth and not secret.startswith(_ADMIN_PREFIX):
            warn(
                f"the key from {source} does not start with {_ADMIN_PREFIX}: "
                "the reports need an Admin API key, not one for inference"
            )
        self._apply = _bearer(secret) if oauth else _key(secret)
        self._redact = redactor(secret)

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
        except (AuthenticationError, InvalidQuery) as error:
            problem = type(error)(str(error))
        # Raised anew, so that no frame of the traceback holds the key or the environment.
        del api_key, oauth_token, environ
        raise problem

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
        return self.without(text.decode(errors="surrogateescape")).encode(errors="surrogateescape")

    def without(self, text: str) -> str:
        """Return the text without the secret, in whatever spelling it stands there."""
        return self._redact(text)

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


_TELLING = 12
"""So many characters of a secret's beginning tell that it stands there, even if it is cut."""


def redactor(*secrets: str) -> Callable[[str], str]:
    """Return what puts `[key]` in the place of secrets, cut ones too, however they are spelt.

    Each character may stand for itself or as an escape of JSON, of a URL (also escaped twice) or of
    HTML; the whole may be inside base64, as in basic authentication.
    """
    found = []
    for secret in filter(None, secrets):
        head = "".join(_spelt(character) for character in secret[:_TELLING])
        found.append(head + (_REST if len(secret) > _TELLING else ""))
        found += [re.escape(text) for text in _in_base64(secret)]
    pattern = re.compile("|".join(found) or r"(?!)")

    def redact(text: str) -> str:
        return pattern.sub("[key]", text)

    return redact


_REST = r"(?:[\w.~+/=-]|\\+u00[0-9A-Fa-f]{2}|\\+/|%(?:25)*[0-9A-Fa-f]{2}|&#x?[0-9A-Fa-f]+;)*"
"""What may follow a secret's beginning, in any spelling."""


def _spelt(character: str) -> str:
    """Return a pattern of the spellings of one character."""
    code = f"{ord(character):02x}"
    hexadecimal = "".join(f"[{d}{d.upper()}]" for d in code)
    forms = [rf"\\*{re.escape(character)}", rf"\\+u00{hexadecimal}", rf"%(?:25)*{hexadecimal}"]
    forms += [f"&#0*{ord(character)};", f"&#[xX]0*{hexadecimal};"]
    return f"(?:{'|'.join(forms)})"


def _in_base64(secret: str) -> list[str]:
    """Return what of a secret's base64 is the same whatever stands before and behind it."""
    texts = []
    for before in range(3) if len(secret) >= _TELLING else ():
        coded = base64.b64encode(b"\0" * before + secret.encode()).decode().rstrip("=")
        texts.append(coded[(before * 8 + 5) // 6 : len(coded) - 1])
    return texts + [text.translate(str.maketrans("+/", "-_")) for text in texts]
