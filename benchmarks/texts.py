"""What reading a text costs at four times its length, against once: 4 where the time is that of the length alone.

    python benchmarks/texts.py

For each reader: the piece of text whose repetition costs it most, of pieces that are never closed, never end, or begin
anew at each character. The time is the processor's, the best of several, without garbage collection, whose cost grows with what is kept.
"""

import gc
import time
from collections.abc import Callable
from contextlib import suppress

from kqlmi import redaction
from kqlmi.errors import KqlmiError
from kqlmi.local import lenient_json, lexer
from kqlmi.local.faults import KustoError
from kqlmi.model import commands, hidden, jsontext, lexing, nesting, payloads, references
from kqlmi.model.mapped import Mapped
from kqlmi.notebook import invocation, words

READERS: dict[str, Callable[[str], object]] = {
    "lexing.tokens": lambda text: list(lexing.tokens(text)),
    "nesting.commands": lambda text: list(nesting.commands(text)),
    "commands.read": commands.read,
    "commands.writes": commands.writes,
    "hidden.hidden": hidden.hidden,
    "hidden.masked": hidden.masked,
    "references": references.references,
    "invocation.parse_cell": lambda text: invocation.parse_cell("", text),
    "words.pieces": words.pieces,
    "payloads.json_pieces": lambda text: list(payloads.json_pieces(Mapped.whole(text))),
    "jsontext.load": jsontext.load,
    "redaction.redacted": redaction.redacted,
    "local.lexer.tokens": lambda text: list(lexer.tokens(text)),
    "local.lexer.mask_hidden": lexer.mask_hidden,
    "local.lenient_json.loads": lenient_json.loads,
}
PIECES = [
    "\\'", "'", '"', '\\"', "@'", "@'' ", "h'", "h", "```", "``` ", "~~~", "0", "1.", "a", "//", "(", "[", "{", "'\\'\n",
    "'a' ", "'a',", '{"a":', "strcat(", ";let a=strcat(", "externaldata(x:int)[", "externaldata(x:int)['",
    "evaluate python(", "dynamic(", "\n.show ", "execute <|.show ", "x://", "a://b:c@", "https://a", "https://a:b ", "eyJ",
    "Bearer 1", "password=", "password '", "pwd\\\\", "key=", "Aa0", "3Q~", "h'https://a;managed_identity=b' ",
]  # fmt: skip
SIZE = 8_000


def members(count: int) -> str:
    """Return a JSON object of some properties."""
    return "{" + ",".join(f'"p{place}":1' for place in range(count)) + "}"


def seconds(read: Callable[[str], object], text: str) -> float:
    """Return the best of several times that reading a text takes; what refuses it takes its time too."""
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        with suppress(KqlmiError, KustoError, lenient_json.LenientJsonError):
            read(text)
        best = min(best, time.process_time() - started)
        if best > 1:
            break
    return best


def main() -> None:
    """Measure, and print a row for each reader."""
    gc.disable()
    texts = {piece: [piece * (size // len(piece)) for size in (SIZE, 4 * SIZE)] for piece in PIECES}
    texts["properties of one object"] = [members(count) for count in (2_000, 8_000)]
    print(f"{'':26}{'costs most':34}{'n':>10}{'4 n':>13}   ratio")
    for name, read in READERS.items():
        rows = []
        for piece, (once, four_times) in texts.items():
            short, long = seconds(read, once), seconds(read, four_times)
            # What takes no time has no ratio.
            rows.append((long / max(short, 1e-4), short, long, piece))
        ratio, short, long, piece = max(rows)
        print(f"{name:26}{piece!r:34}{short * 1000:>7.2f} ms{long * 1000:>10.2f} ms{ratio:>8.1f}", flush=True)


if __name__ == "__main__":
    main()
