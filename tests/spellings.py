"""The documented spellings of commands that write a policy, in one table for the client's reader and the local cluster's."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

CLUSTER: Final = ""
DATABASE: Final = "My db"
"""The database in context."""

PAYLOAD: Final = '[{"ObjectId":"system","AllowedUsages":"SqlRequest"}]'


@dataclass(frozen=True)
class Spelling:
    """A text, and the commands in it: the verb, scope and payload of each.

    ``shows`` states whether its answer is the policy that the command left.
    """

    text: str
    writes: tuple[tuple[str, str, str | None], ...]
    shows: bool = True


LITERALS: Final = (
    f"'{PAYLOAD}'",
    f"@'{PAYLOAD}'",
    f"h'{PAYLOAD}'",
    f"H@'{PAYLOAD}'",
    f"```{PAYLOAD}```",
    f"~~~{PAYLOAD}~~~",
    '"' + PAYLOAD.replace('"', '\\"') + '"',
    '@"' + PAYLOAD.replace('"', '""') + '"',
    "'" + PAYLOAD.replace("O", "\\x4f").replace("A", "\\101").replace("U", "\\u0055") + "'",
)

# What may follow a command, and whether the answer is then the policy.
TAILS: Final = (
    ("", True),
    (";", True),
    (" ; // done", True),
    ("\n;\n", True),
    (" // done\n\n  // really ", True),
    ("\u00a0\ufeff;;\t", True),
    (" | project Policy", False),
    ("\n| project Policy\n| extend n = 1;", False),
    ("; $command_results | project Policy", False),
    (";\nlet one = 1;\nlet two = one + 1;\n$command_results\n| extend n = two;", False),
)

HEADS: Final = (
    (".alter cluster policy managed_identity", "alter", CLUSTER),
    (".alter-merge cluster policy managed_identity", "alter-merge", CLUSTER),
    (".delete cluster policy managed_identity", "delete", CLUSTER),
    (".alter database ['My db'] policy managed_identity", "alter", DATABASE),
    (".alter-merge database [\"my\" ' DB'] policy managed_identity", "alter-merge", DATABASE),
    (".alter database policy managed_identity", "alter", DATABASE),
    ("// why\n. delete\ndatabase // which\n[@'My db'] policy managed_identity", "delete", DATABASE),
)

SEPARATORS: Final = ("", " ", "\n", "\r\n", " // more\n ", "\n\n\n")


def cuts() -> Iterator[Spelling]:
    """Yield the payload in every literal, split in two at every place, and split into single characters."""
    head = ".alter cluster policy managed_identity"
    wanted = (("alter", CLUSTER, PAYLOAD),)
    for literal in LITERALS:
        yield Spelling(f"{head} {literal}", wanted)
    for place in range(len(PAYLOAD) + 1):
        separator = SEPARATORS[place % len(SEPARATORS)]
        yield Spelling(f"{head} '{PAYLOAD[:place]}'{separator}@'{PAYLOAD[place:]}'", wanted)
        yield Spelling(f"{head}\n```{PAYLOAD[:place]}```{separator}h'{PAYLOAD[place:]}';", wanted)
    yield Spelling(f"{head} " + "\n".join(f"'{char}'" for char in PAYLOAD), wanted)


def commands() -> Iterator[Spelling]:
    """Yield each head with each literal and each tail."""
    for at, (head, verb, scope) in enumerate(HEADS):
        for place, (tail, shows) in enumerate(TAILS):
            literal = "" if verb == "delete" else LITERALS[(at + place) % len(LITERALS)]
            # Directly after a word, an h would belong to the word.
            gap = SEPARATORS[(at + place) % len(SEPARATORS)] or " " * literal.lower().startswith("h") if literal else ""
            payload = None if verb == "delete" else PAYLOAD
            yield Spelling(f"{head}{gap}{literal}{tail}", ((verb, scope, payload),), shows)


def scripts() -> Iterator[Spelling]:
    """Yield scripts that write policies, among other commands, blank lines and comments."""
    database = "database ['My db'] policy managed_identity"
    other = "database Other policy managed_identity"
    yield Spelling(
        f".execute database script <| .alter {database} '{PAYLOAD}'", (("alter", DATABASE, PAYLOAD),), shows=False
    )
    yield Spelling(
        f""".execute database script with (ContinueOnErrors=true) <|
//
// Tables
.create-merge table T (x: long)

.alter-merge {other}
```
{PAYLOAD}
```;

// In the database in context, in two literals
.alter database policy managed_identity '{PAYLOAD[:7]}' // more
  '{PAYLOAD[7:]}'
.show {database}
.delete {other}
.create-or-alter function F() {{
  T | where x > 1 // .alter cluster policy managed_identity '[]'
}};
""",
        (
            ("alter-merge", "Other", f"\n{PAYLOAD}\n"),
            ("alter", DATABASE, PAYLOAD),
            ("delete", "Other", None),
        ),
        shows=False,
    )
    yield Spelling(
        f".execute cluster script with (ThrowOnErrors = true)\n<|\n.alter cluster policy managed_identity '{PAYLOAD}';\r\n"
        f"\r\n.alter-merge cluster policy managed_identity h@'{PAYLOAD}'",
        (("alter", CLUSTER, PAYLOAD), ("alter-merge", CLUSTER, PAYLOAD)),
        shows=False,
    )


SPELLINGS: Final = (*commands(), *scripts())
ALL: Final = (*SPELLINGS, *cuts())

# Texts that look like policy writes, but are not.
OTHERS: Final = (
    ".show cluster policy managed_identity",
    ".show cluster policy managed_identity | where Policy contains '.alter cluster policy managed_identity'",
    ".alter cluster policy callout '[]'",
    ".alter managed_identity policy cluster '[]'",
    ".alter - merge cluster policy managed_identity '[]'",
    ".execute database script <|\n.create table T (x: long)\n.show cluster policy managed_identity",
    ".create function F() { print '.alter cluster policy managed_identity' }",
    "print 1",
    "// .alter cluster policy managed_identity '[]'",
    "",
)
