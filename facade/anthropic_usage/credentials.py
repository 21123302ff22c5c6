"""Where the key comes from, and the one object that holds it without ever showing it."""

from __future__ import annotations

import base64
import os
import re
import unicodedata
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

    __slots__ = ("_apply", "_echoes", "_redact", "kind", "source")

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
        self._echoes = _echo(secret)

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

    def stands_in(self, body: bytes) -> bool:
        """Tell whether JSON holds the secret, as it is or in JSON's escapes."""
        return self._echoes(body)

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


_ESCAPED = re.compile(rb"\\u00([2-7][0-9A-Fa-f])")


def _echo(secret: str) -> Callable[[bytes], bool]:
    plain = secret.encode()
    short = len(_plain(secret)) < _TELLING

    def echoes(body: bytes) -> bool:
        if short:  # a word like any other
            return False
        if plain in body:
            return True
        if _ESCAPED.search(body) is None:
            return False
        return plain in _ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()), body)

    return echoes


_TELLING = 10
"""So many letters and digits of a secret in a row tell that it stands there, even if it is cut."""

_TOKEN = re.compile(
    r"\\+(?:u00|x)(?P<escape>[0-9a-f]{2})|%(?:25)*(?P<percent>[0-9a-f]{2})|=(?P<printable>[0-9a-f]{2})|"
    r"&(?:amp;)*#0*(?P<decimal>\d{1,7});|&(?:amp;)*#x0*(?P<hexadecimal>[0-9a-f]{1,6});|&\w+;|.",
    re.IGNORECASE | re.DOTALL,
)
"""A character as JSON, a URL (also twice), mail or HTML may spell it."""
_KEYLIKE = re.compile(r"[\w.~+/=-]")


def redactor(*secrets: str) -> Callable[[str], str]:
    """Return what puts `[key]` in the place of secrets, cut ones too, however they are spelt.

    Only letters and digits are compared, whatever their case and their width, so that neither an
    escape nor what stands between them hides a secret. It may be inside base64 (as in basic
    authentication), base32 or hexadecimal, or be turned around.
    """
    needles = [_plain(text) for secret in secrets for text in _codings(secret)]
    short = [re.escape(text) for text in secrets if 0 < len(_plain(text)) < _TELLING]
    pattern = re.compile("|".join(short) or r"(?!)")
    pieces = {
        needle[at : at + _TELLING] for needle in needles for at in range(len(needle) - _TELLING + 1)
    }

    def redact(text: str) -> str:
        return _without(pattern.sub("[key]", text), pieces)

    return redact


def _without(text: str, pieces: set[str]) -> str:
    """Return a text in which `[key]` stands for whatever holds one of the pieces."""
    tokens = [(_meant(found), *found.span()) for found in _TOKEN.finditer(text)]
    letters = [(sign, at) for at, (meant, *_) in enumerate(tokens) for sign in _plain(meant)]
    line = "".join(sign for sign, _ in letters)
    made, done = [], 0
    at = 0
    while at <= len(line) - _TELLING:
        if line[at : at + _TELLING] not in pieces:
            at += 1
            continue
        first = at
        while line[at : at + _TELLING] in pieces:
            at += 1
        at += _TELLING - 1
        begin, last = letters[first][1], letters[at - 1][1]
        while last + 1 < len(tokens) and _KEYLIKE.match(tokens[last + 1][0]):
            last += 1
        if tokens[begin][1] >= done:
            made += [text[done : tokens[begin][1]], "[key]"]
        done = max(done, tokens[last][2])
    return "".join([*made, text[done:]])


def _meant(found: re.Match[str]) -> str:
    """Return the character that a token means."""
    if found.lastgroup is None:
        return found[0] if len(found[0]) == 1 else " "
    code = int(found[found.lastgroup], 10 if found.lastgroup == "decimal" else 16)
    return chr(code) if code < 0x110000 else " "


def _plain(text: str) -> str:
    """Return the letters and digits of a text, as ASCII has them, small."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return "".join(sign for sign in text.lower() if sign.isascii() and sign.isalnum())


def _codings(secret: str) -> list[str]:
    """Return a secret as it is, and what of its codings is the same whatever stands around it."""
    if len(_plain(secret)) < _TELLING:
        return []
    data = secret.encode()
    texts = [secret, secret[::-1], data.hex(), base64.b32encode(data).decode().rstrip("=")[:-1]]
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + data).decode().rstrip("=")
        texts.append(coded[(before * 8 + 5) // 6 : len(coded) - 1])
    return texts
