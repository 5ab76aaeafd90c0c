"""The time to read a text at one, two, four and eight times its length; it doubles each time if reading is linear.

    python benchmarks/texts.py

For each reader, prints the piece of text whose repetition costs it most, among pieces that are never closed, never end,
or start again at each character. The time is processor time, the best of several runs, without garbage collection, whose
cost grows with the objects that are kept.
"""

import gc
import time
from collections.abc import Callable
from contextlib import suppress

from kqlmi import redaction
from kqlmi.errors import KqlmiError
from kqlmi.local import commands as local_commands
from kqlmi.local.engine import kqltext
from kqlmi.local.language import lexer
from kqlmi.local.language.reader import Mismatch
from kqlmi.local.query import external_calls
from kqlmi.local.values import lenient_json
from kqlmi.local.values.faults import KustoError
from kqlmi.model import jsontext
from kqlmi.model.kql import payloads, tokenizer
from kqlmi.model.kql.source_map import Mapped
from kqlmi.model.statement import Statement
from kqlmi.notebook import invocation
from kqlmi.notebook.panel import words

READERS: dict[str, Callable[[str], object]] = {
    "tokenizer.tokens": tokenizer.tokens,
    "statement.commands": lambda text: Statement(text).commands,
    "statement.policy_command": lambda text: Statement(text).policy_command,
    "statement.policy_writes": lambda text: Statement(text).policy_writes,
    "statement.hidden": lambda text: Statement(text).hidden,
    "statement.masked": lambda text: Statement(text).masked,
    "statement.references": lambda text: Statement(text).references,
    "invocation.parse_cell": lambda text: invocation.parse_cell("", text),
    "words.pieces": words.pieces,
    "payloads.json_pieces": lambda text: list(payloads.json_pieces(Mapped.whole(text))),
    "jsontext.load": jsontext.load,
    "redaction.redacted": redaction.redacted,
    "local.lexer.tokens": lambda text: list(lexer.tokens(text)),
    "local.lexer.mask_hidden": lexer.mask_hidden,
    "local.lenient_json.loads": lenient_json.loads,
    "local.external_calls.replaced": lambda text: external_calls.replaced(
        text, frozenset({"r"}), lambda _site: "kqlmi_0"
    ),
    "local.kqltext.for_engine": lambda text: kqltext.for_engine(text, str),
    "local.kqltext.results": kqltext.results,
    "local.commands.match": local_commands.match,
}
PIECES = [
    "\\'", "'", '"', '\\"', "@'", "@'' ", "h'", "h", "```", "``` ", "~~~", "0", "1.", "a", "//", "(", "[", "{", "'\\'\n",
    "'a' ", "'a',", '{"a":', "strcat(", ";let a=strcat(", "externaldata(x:int)[", "externaldata(x:int)['", "externaldata(x:int)['a'];",
    ";let a=externaldata(x:int)['a']", "|evaluate r('a')", "(T|evaluate r('a')),", "bool(", "let f=(){1};",
    ".show version;", ".create table T(a:int)", ".create function F(){1;}", ".show x ",
    "evaluate python(", "dynamic(", "\n.show ", "execute <|.show ", "x://", "a://b:c@", "https://a", "https://a:b ", "eyJ",
    "Bearer 1", "password=", "password '", "pwd\\\\", "key=", "Aa0", "3Q~", "h'https://a;managed_identity=b' ",
]  # fmt: skip
SIZES = (8_000, 16_000, 32_000, 64_000)


def members(count: int) -> str:
    """Return a JSON object with ``count`` properties."""
    return "{" + ",".join(f'"p{place}":1' for place in range(count)) + "}"


def seconds(read: Callable[[str], object], text: str) -> float:
    """Return the best of several times to read a text; a reader that refuses it counts too."""
    best = float("inf")
    for _ in range(3):
        lexer.next_token.cache_clear()  # otherwise a short text would be read from the cache
        started = time.process_time()
        with suppress(KqlmiError, KustoError, Mismatch, lenient_json.LenientJsonError):
            read(text)
        best = min(best, time.process_time() - started)
        if best > 1:
            break
    return best


def main() -> None:
    """Measure, and print a row for each reader."""
    gc.disable()
    texts = {piece: [piece * (size // len(piece)) for size in SIZES] for piece in PIECES}
    texts["properties of one object"] = [members(size // 12) for size in SIZES]
    print(f"{'':26}{'costs most':34}{'n':>10}{'2 n':>13}{'4 n':>13}{'8 n':>13}   8 n : n")
    for name, read in READERS.items():
        rows = []
        for piece, sizes in texts.items():
            times = [seconds(read, text) for text in (sizes[0], sizes[2])]
            # The lower bound keeps times near zero from giving meaningless ratios.
            rows.append((times[1] / max(times[0], 1e-4), piece))
        _, piece = max(rows)
        times = [seconds(read, text) for text in texts[piece]]
        shown = "".join(f"{one * 1000:>10.2f} ms" for one in times)
        print(f"{name:26}{piece!r:34}{shown}{times[-1] / max(times[0], 1e-4):>10.1f}", flush=True)


if __name__ == "__main__":
    main()
