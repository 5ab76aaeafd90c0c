"""The output of a run in every channel, and the search for planted secrets in it."""

import base64
import json
import logging
import random
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pandas as pd
from IPython.core.formatters import DisplayFormatter

PIECE: Final = 12
"""The number of consecutive characters of a secret that count as a leak."""

_WIDE: Final = ("display.max_colwidth", None, "display.width", 100_000, "display.max_columns", None)


class Secrets:
    """A generator of secrets in the forms of real ones, which are the same for the same ``seed``."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)  # noqa: S311 - so that a failure can be repeated
        self.planted: list[str] = []

    def plant(self, secret: str) -> str:
        """Add a secret to search for."""
        self.planted.append(secret)
        return secret

    def _base64(self, length: int) -> str:
        return base64.b64encode(self._random.randbytes(length)).decode()

    def key(self) -> str:
        """Return the key of a storage account."""
        return self.plant(self._base64(64))

    def sas(self) -> str:
        """Return a shared access signature, as the query string of a URL."""
        return f"sv=2024-11-04&se=2031-01-01T00:00:00Z&sr=c&sp=rl&sig={quote(self.plant(self._base64(32)), safe='')}"

    def password(self) -> str:
        """Return a password, which has no typical form."""
        return self.plant(f"Zx{self._random.randbytes(12).hex()}")

    def client_secret(self) -> str:
        """Return the secret of an application in Entra ID."""
        return self.plant(f"kQ78Q~{base64.urlsafe_b64encode(self._random.randbytes(26)).decode().rstrip('=')[:34]}")

    def token(self) -> str:
        """Return a bearer token."""
        parts = (base64.urlsafe_b64encode(self._random.randbytes(30)).decode() for _ in range(2))
        return self.plant("eyJhbGciOiJSUzI1NiJ9." + ".".join(parts))


@dataclass
class Watch:
    """The recorded texts, by channel."""

    seen: list[tuple[str, str]] = field(default_factory=list)

    def see(self, channel: str, *texts: object) -> None:
        self.seen += [(channel, str(text)) for text in texts]

    def value(self, what: object) -> None:
        """Record a value in every form in which a user may see it."""
        self.see("repr", repr(what), str(what))
        with suppress(TypeError):
            self.see("vars", {name: repr(value) for name, value in vars(what).items()})
        data, _ = DisplayFormatter().format(what)
        self.see("display", *data.values())
        if isinstance(what, pd.DataFrame):
            with pd.option_context(*_WIDE):
                self.see("display", what.to_string(), what.to_html(), what.to_dict())

    def error(self, error: BaseException) -> None:
        """Record an error, and everything chained to it."""
        trace = traceback.TracebackException.from_exception(error)
        # The lines of a cell are the user's own, and no notebook shows them with an error of kqlmi.
        for part in _all(trace):
            part.stack[:] = [frame for frame in part.stack if "ipython-input" not in frame.filename]
        self.see("error", "".join(trace.format()))
        chain: list[BaseException] = [error]
        for one in chain:
            kind = "error" if one is error else "context"
            self.see(kind, str(one), repr(one), one.args, vars(one), *getattr(one, "__notes__", ()))
            chain += [found for found in (one.__cause__, one.__context__) if found is not None and found not in chain]

    def files(self, folder: Path) -> None:
        """Record every file below a folder, and its name."""
        for path in folder.rglob("*"):
            self.see("file", path)
            if path.is_file():
                text = path.read_text("utf-8", "replace")
                self.see("file", text)
                # JSON is also recorded decoded, so that escapes hide nothing.
                with suppress(ValueError):
                    self.see("file", repr(json.loads(text)))

    @contextmanager
    def logs(self) -> Iterator[None]:
        """Record the messages of every logger at its lowest level."""
        handler = _Handler(self)
        names = [name for name, one in logging.root.manager.loggerDict.items() if isinstance(one, logging.Logger)]
        loggers = [logging.root, *map(logging.getLogger, names)]
        before = [(one, one.level) for one in loggers]
        deaf = [one for one in loggers if one is logging.root or not one.propagate]
        for one in loggers:
            one.setLevel(logging.DEBUG if one is logging.root else logging.NOTSET)
        for one in deaf:
            one.addHandler(handler)
        try:
            yield
        finally:
            for one in deaf:
                one.removeHandler(handler)
            for one, level in before:
                one.setLevel(level)

    @property
    def text(self) -> str:
        return "\n".join(text for _, text in self.seen)

    def leaks(self, secrets: list[str]) -> list[tuple[str, str]]:
        """Return the channels that show a piece of a secret, each with the text around the first piece."""
        pieces = {piece for secret in secrets for form in _forms(secret) for piece in _pieces(form.casefold())}
        found = []
        for channel, text in self.seen:
            folded = text.casefold()
            shown = next((at for at, piece in enumerate(_pieces(folded)) if piece in pieces), None)
            if shown is not None:
                found.append((channel, folded[max(0, shown - 80) : shown + 80]))
        return found


class _Handler(logging.Handler):
    def __init__(self, watch: Watch) -> None:
        super().__init__(logging.NOTSET)
        self._watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        about = {name: repr(value) for name, value in vars(record).items() if name not in {"pathname", "filename"}}
        self._watch.see("log", record.name, record.getMessage(), about)
        if record.exc_info and record.exc_info[1]:
            self._watch.error(record.exc_info[1])


def _all(trace: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    yield trace
    for one in (trace.__cause__, trace.__context__):
        if one is not None:
            yield from _all(one)


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret in every form in which it may be written elsewhere."""
    raw = secret.encode()
    yield from (secret, quote(secret, safe=""), quote(quote(secret, safe=""), safe=""), raw.hex(), secret[::-1])
    for offset in range(3):
        # The part that is the same in base64 whatever precedes and follows it.
        inner = base64.b64encode(b"\0" * offset + raw + b"\0" * (-(len(raw) + offset) % 3)).decode()
        inner = inner[4 * (offset > 0) : len(inner) - 4]
        yield from (inner, inner.replace("+", "-").replace("/", "_"))


def _pieces(text: str) -> Iterator[str]:
    return (text[at : at + PIECE] for at in range(len(text) - PIECE + 1))
