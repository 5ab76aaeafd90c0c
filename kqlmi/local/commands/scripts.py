"""Scripts, which run several commands at the scope of a database or of the cluster."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from kqlmi.local.dispatch.registry import Call, Matched, Rows, command, match
from kqlmi.local.language.lexer import Kind, mask_hidden, tokens
from kqlmi.local.state.activity import Run
from kqlmi.local.values.faults import KustoError, bad_request, syntax_error
from kqlmi.local.values.principals import ADMIN

_SCHEMA = "OperationId: guid, CommandType: string, CommandText: string, Result: string, Reason: string"
_SCRIPT = "[with {properties:properties}] {rest:script}"
_OPTIONS = ("continueonerrors", "throwonerrors")
_BOOLEANS = {"true": True, "false": False}


@command(
    f".execute {{cluster}} script {_SCRIPT}", schema=_SCHEMA, name="cluster_script_execute", needs=ADMIN, writes=True
)
@command(f".execute database script {_SCRIPT}", schema=_SCHEMA, name="database_script_execute", writes=True)
def script_execute(call: Call) -> Rows:
    """Run the commands of a script in order and return a row for each; a failure does not revert the others."""
    if "cluster" not in call.args:
        call.allowed(ADMIN)
    options = _options(call.args.get("properties", {}))
    rows: list[tuple[Any, ...]] = []
    stopped = ""
    for text in tuple(_commands(call.args["script"])):
        kind, result, reason = "", "Skipped", stopped
        try:
            if not stopped:
                matched = match(text)
                kind = matched.command.operation.removesuffix("Command")
                if matched.command.writes:
                    _run_one(call, matched, text)
                    result = "Completed"
        except KustoError as error:
            if options.get("throwonerrors"):
                raise
            result, reason = "Failed", error.detail
            # Documented: the commands after a failed one also have rows. The text of the reason is the local cluster's own.
            stopped = "" if options.get("continueonerrors") else "A preceding command failed."
        rows.append((str(uuid.uuid4()), kind, mask_hidden(text), result, reason))
    return rows


def _run_one(call: Call, matched: Matched, text: str) -> None:
    scope = "cluster" if "cluster" in call.args else "database"
    verb, subject = _head(text)
    if verb == "execute":
        raise bad_request("a script cannot contain a script")
    if (subject == "cluster") != (scope == "cluster"):
        raise bad_request(f"Not a {scope}-scope command")
    outer = call.run
    run = Run(
        is_query=False,
        text=mask_hidden(text),
        principal=outer.principal,
        database=outer.database,
        client_request_id=outer.client_request_id,
    )
    outer.check()
    matched.command(replace(call, run=run, args=matched.args))


def _head(text: str) -> tuple[str, str]:
    """Return the verb of a command and the word after it."""
    _dot, verb, *rest = (token.text for _, token in zip(range(20), tokens(text), strict=False))
    while rest[:1] == ["-"]:
        verb, rest = f"{verb}-{rest[1]}", rest[2:]
    return verb, rest[0] if rest else ""


def _options(given: dict[str, str]) -> dict[str, bool]:
    found = {}
    for name, text in given.items():
        if name not in _OPTIONS or text not in _BOOLEANS:
            raise bad_request(f"a script has no property {name} = {text}; use ContinueOnErrors or ThrowOnErrors = true")
        found[name] = _BOOLEANS[text]
    if len(found) > 1:
        raise bad_request("ContinueOnErrors and ThrowOnErrors cannot be combined")
    return found


def _commands(text: str) -> Iterator[str]:
    """Yield the commands of a script; each begins with a dot at the start of a line and outside brackets."""
    start, end, depth = -1, 0, 0
    for token in tokens(text):
        gap = text[end : token.start]
        is_first = start < 0 or "\n" in gap or "\r" in gap
        if token.text == "." and token.kind is Kind.SYMBOL and is_first and not depth:
            if start >= 0:
                yield text[start:end]
            start = token.start
        elif start < 0:
            raise syntax_error(f"a command of a script must begin with a dot, not {token.text[:40]!r}")
        elif token.kind is Kind.SYMBOL:
            depth = max(0, depth + (token.text in "([{") - (token.text in ")]}"))
        end = token.end
    if start < 0:
        raise syntax_error("the script contains no command")
    yield text[start:end]
