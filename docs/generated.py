"""A Sphinx extension that generates the reference from the registries and docstrings of kqlmi.

A line ``% generated: NAME`` in a page is replaced by the Markdown that the function of that name returns.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import kqlmi
from kqlmi import cli, errors, policyfile
from kqlmi.credentials.ways import WAYS
from kqlmi.model.audit.rules import RULES
from kqlmi.model.entities import SYSTEM, Scope
from kqlmi.model.explain.explanation import from_refusal
from kqlmi.model.explain.published import ROWS
from kqlmi.model.explain.refusals import Published
from kqlmi.model.policy.directory import Directory
from kqlmi.model.policy.policy import Policy, Snapshot
from kqlmi.model.templates import FORMS
from kqlmi.model.usages import USAGES
from kqlmi.model.workflows import WORKFLOWS, Workflow
from kqlmi.notebook.face import NOTEBOOK
from kqlmi.notebook.settings import KqlMI
from kqlmi.policyfile import acceptances, reader
from kqlmi.session import MODES, connect
from kqlmi.session.connections import configuration
from kqlmi.verbs import VERBS, Face
from kqlmi.verbs.registry import Verb

Write = Callable[[], str]
PAGES: dict[str, Write] = {}
"""The functions that write generated parts, by name."""

_LINE: Final = re.compile(r"^% generated: (.*)$", re.MULTILINE)
_MARKUP: Final = re.compile(r"([\\`*_{}\[\]<>|])")
# Text for the user to type: a magic, an option with its value, a command, a variable, or text in double backticks.
_TYPED: Final = re.compile(
    rf"``(?P<plain>[^`]+)``|(?P<typed>%%?kqlmi\b(?: help)?(?: (?:{'|'.join(VERBS)})\b(?: local\b)?)?(?: [A-Z]{{2,}}\b)*"
    r"|(?<![\w-])--[a-z][a-z-]+(?: [A-Z]+\b)?|\b[A-Z]+_[A-Z_]+\b)"
)


def page(write: Write) -> Write:
    """Register a function that writes the generated part of its name."""
    PAGES[write.__name__] = write
    return write


def setup(app: Any) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    app.connect("source-read", lambda _app, _name, source: source.__setitem__(0, expanded(source[0])))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def expanded(text: str) -> str:
    """Return the text of a page with its generated parts filled in; raise KeyError for an unknown name."""
    return _LINE.sub(lambda found: PAGES[found[1]](), text)


def escaped(text: str) -> str:
    """Return a text escaped for Markdown, on one line, with text to type as inline code."""
    parts: list[str] = []
    end = 0
    text = " ".join(text.split())
    for found in _TYPED.finditer(text):
        parts += [_MARKUP.sub(r"\\\1", text[end : found.start()]), code(found["plain"] or found["typed"])]
        end = found.end()
    return "".join([*parts, _MARKUP.sub(r"\\\1", text[end:])])


def code(text: str) -> str:
    """Return a text as inline code that is safe in a table; an empty text stays empty."""
    return f"`{text}`".replace("|", "\\|") if text else ""


def block(text: str, language: str = "text") -> str:
    """Return a text as a block of code."""
    return f"````{language}\n{text.rstrip()}\n````"


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    heads = [*heads]
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def paragraphs(text: str) -> str:
    """Return the paragraphs of a docstring as Markdown."""
    return "\n\n".join(map(escaped, text.split("\n\n")))


def docstring(function: Any) -> str:
    """Return a docstring, with ``{modes}`` replaced by the ways to sign in."""
    return (inspect.getdoc(function) or "").replace("{modes}", ", ".join(MODES))


def _options(face: Face, one: Verb) -> str:
    """Return the options of a verb on a face, except those that every verb on a connection has there."""
    syntax = face.syntax(one)
    common = {p.name for p in syntax.common}
    rows = [
        (code(option), _takes(syntax.kinds[option], syntax.values[option]))
        for option, p in syntax.options.items()
        if p.name not in {"help", *common} and p not in syntax.more
    ]
    return table(("option", "takes"), rows) if rows else ""


def _takes(kind: str, values: str | tuple[str, ...]) -> str:
    if kind == "flag":
        return "none: a flag"
    often = ", repeatable" if kind == "values" else ""
    if isinstance(values, tuple):
        return f"{', '.join(map(code, values))}{often}"
    return f"{f'{values} name'.replace('identity name', 'identity').replace('plan name', 'plan') if values else 'a value'}{often}"


def _verbs(face: Face, prefix: str) -> str:
    names = face.verbs
    parts = [
        table(
            ("verb", "what it does"),
            ([f"[{name}](#{_anchor(prefix, name)})", escaped(one.summary)] for name, one in names.items()),
        )
    ]
    for name, one in names.items():
        row = face.rows.get(name)
        parts += [
            f"({_anchor(prefix, name)})=\n## {name}",
            block(face.syntax(one).usage, "text"),
            paragraphs(docstring(one.run)),
            paragraphs(docstring(row)) if row else "",
            _options(face, one),
        ]
    return "\n\n".join(filter(None, parts))


def _anchor(prefix: str, name: str) -> str:
    return f"{prefix}-{name.replace('.', '-').replace('_', '-').replace(' ', '-')}"


@page
def cell() -> str:
    """Return the syntax of a cell."""
    return block(NOTEBOOK.before)


@page
def verbs() -> str:
    """Return every verb of a notebook."""
    return f"{paragraphs(docstring(NOTEBOOK.common))}\n\n{_verbs(NOTEBOOK, 'verb')}"


@page
def command_line() -> str:
    """Return every verb of the command line."""
    return _verbs(cli.SHELL, "command")


@page
def common_options() -> str:
    """Return the options that every verb on a connection has on the command line."""
    return paragraphs(docstring(cli.SHELL.common))


@page
def exit_statuses() -> str:
    """Return the exit statuses of the command line."""
    return paragraphs(cli.SHELL.after)


@page
def usages() -> str:
    """Return a row for each usage."""
    return table(
        ("usage", "what it allows", "takes effect in the policy of", "workflows"),
        (
            (
                code(one.name),
                escaped(one.summary),
                "the cluster only" if one.cluster_only else "the cluster or a database",
                ", ".join(
                    f"[{escaped(row.title)}](#{_anchor('workflow', row.id)})"
                    for row in WORKFLOWS
                    if row.usage == one.name
                ),
            )
            for one in USAGES
        ),
    )


@page
def inferred() -> str:
    """Return the workflows whose usage no page names."""
    rows = (
        (f"[{escaped(row.title)}](#{_anchor('workflow', row.id)})", code(row.usage), escaped(row.note))
        for row in WORKFLOWS
        if row.sure != "documented"
    )
    return table(("workflow", "usage", "note"), rows)


@page
def workflows() -> str:
    """Return every workflow, with the options of ``%kqlmi new`` for it."""
    return "\n\n".join(part for row in WORKFLOWS for part in _workflow(row))


def _workflow(row: Workflow) -> Iterator[str]:
    yield f"({_anchor('workflow', row.id)})=\n## {escaped(row.title)}"
    facts = {
        "ID": code(row.id),
        "usage": f"{code(row.usage)}, {row.sure}",
        "takes effect in the policy of": "the cluster only" if row.cluster_only else "the cluster or a database",
        "the identity is written": code(row.identity) if not row.identity[:1].isalpha() else escaped(row.identity),
        "required when": escaped(row.required_when),
        "callout policy": code(row.callout),
        "Azure role": escaped(row.external),
        "Kusto role": escaped(row.kusto),
        "note": escaped(row.note),
        "source": code(row.doc),
    }
    yield table(("", ""), ((name, text) for name, text in facts.items() if text))
    yield block(row.example, "text")
    if form := FORMS.get(row.id):
        yield f"{code(f'%kqlmi new {row.id} --identity IDENTITY')} generates it ({form.kind}):"
        yield table(
            ("option", "what it is", "default"),
            (
                (
                    code(one.option),
                    escaped(one.help),
                    code(one.default) or ("none" if one.optional else "required"),
                )
                for one in form.fields
            ),
        )


@page
def audit_rules() -> str:
    """Return a row for each rule of the audit."""
    return table(("rule", "what it finds"), ((code(one.name), escaped(one.about)) for one in RULES.values()))


@page
def error_tree() -> str:
    """Return the classes of errors as nested lists, each with its first sentence."""
    return "\n".join([*_tree(errors.KqlmiError, 0), *_tree(errors.RequestInterruptedError, 0)])


def _tree(kind: type[BaseException], depth: int) -> Iterator[str]:
    yield f"{'  ' * depth}- {code(kind.__name__)}: {escaped(docstring(kind).partition(chr(10) * 2)[0])}"
    for one in sorted(kind.__subclasses__(), key=lambda one: one.__name__):
        if one.__module__.startswith("kqlmi.") and not one.__name__.startswith("_"):
            yield from _tree(one, depth + 1)


_WHO: Final = "11111111-2222-3333-4444-555555555555"
_BLOB: Final = "https://account.blob.core.windows.net/container"
# The details with which a local cluster reports each closed gate, in the order of its checks.
_CLOSED: Final[tuple[dict[str, Any], ...]] = (
    {"missing": "flow"},
    {"missing": "assignment", "identity": _WHO},
    {"missing": "grant", "identity": _WHO, "usage": "ExternalTable", "database": "Samples"},
    {"missing": "callout", "identity": _WHO, "calloutType": "external_data", "url": _BLOB},
    {"missing": "azure role", "identity": _WHO, "roles": ["Storage Blob Data Reader"], "url": _BLOB},
)
_READER: Final = f"Principal 'aadapp={_WHO}' is not authorized to read database 'Samples'."


@page
def gates() -> str:
    """Return the explanation of each gate that can be closed, with the lines that open it."""
    known = Directory.of(Snapshot({Scope.database("Samples"): Policy.empty().grant(_WHO, "AutomatedFlows")}))
    errors = [({"message": "", "code": "", "type_name": ""}, details) for details in _CLOSED]
    errors.append(({"message": _READER, "code": "", "type_name": ""}, {}))
    found = [from_refusal(error, details, (), lambda _: (), known=known).closed for error, details in errors]
    parts = [part for gate in found if gate for part in (f"### {gate.kind.capitalize()}", block(str(gate)))]
    if len(parts) != 2 * len(found):
        raise ValueError("An example of a gate is no longer explained.")
    return "\n\n".join(parts)


@page
def published_refusals() -> str:
    """Return every published refusal with what it means, and a section for each."""
    rows = (
        (
            f"[{one.id}](#{_anchor('refusal', one.id)})",
            code(one.text),
            escaped(", ".join(one.gates)) or "none: not about an identity",
            escaped(one.never),
            one.sure,
            escaped(one.source),
        )
        for one in ROWS
    )
    heads = ("refusal", "published text", "gates that it can mean", "never about", "known from", "source")
    return "\n\n".join([table(heads, rows), *map(_refusal, ROWS)])


def _refusal(one: Published) -> str:
    facts = {
        "text": code(one.text),
        "error codes": ", ".join(map(code, one.codes)),
        "exception types": ", ".join(map(code, one.types)),
        "cause": escaped(one.cause),
        "check": code(one.check),
        "fix": escaped(one.fix),
    }
    rows = ((name, text) for name, text in facts.items() if text)
    return f"({_anchor('refusal', one.id)})=\n### {one.id}\n\n{table(('', ''), rows)}"


@page
def ways_to_sign_in() -> str:
    """Return a row for each way to sign in through azure-identity."""
    rows = (
        (
            code(name),
            ", ".join(code(f"--{option.replace('_', '-')}") for option in sorted(one.options)),
            escaped(one.hint),
        )
        for name, one in WAYS.items()
    )
    return table(("`--auth`", "options", "what to do if it fails"), rows)


@page
def configuration_keys() -> str:
    """Return a row for each key of a connection in the configuration file, as ``connect`` documents it."""
    documented = arguments(connect)
    defaults = configuration.DEFAULTS
    rows = (
        (
            code(key),
            kind.__name__,
            escaped(documented[key]),
            code(str(defaults[key]).lower()) if defaults[key] not in {"", None} else "",
        )
        for key, kind in configuration.KEYS.items()
    )
    return table(("key", "type", "what it is", "default"), rows)


def arguments(function: Any) -> dict[str, str]:
    """Return the description of each argument in a docstring."""
    text = docstring(function).partition("Args:\n")[2].partition("\n\n")[0]
    return {
        name: " ".join(what.split()) for name, what in re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
    }


@page
def settings() -> str:
    """Return a row for each setting of ``%config KqlMI``."""
    traits = KqlMI.class_traits(config=True)
    rows = (
        (code(f"KqlMI.{name}"), escaped(one.help), code(str(one.default_value))) for name, one in sorted(traits.items())
    )
    return table(("setting", "what it is", "default"), rows)


# Exactly the variables that the sources read; otherwise `variables` fails.
_VARIABLES: Final = {
    "KQLMI_CLUSTER": "the cluster to connect to if none is specified",
    "KQLMI_DATABASE": "its database in context",
    "KQLMI_AUTH": "the way to sign in if neither the line nor the configuration file specifies it",
    "KQLMI_TOKEN": "the token for --auth token; if KQLMI_CLUSTER is set, it is sent to that cluster",
    "KQLMI_CONFIG": "the configuration file, instead of the one in your configuration folder",
    "KQLMI_STATE": "the folder for the history of changes, instead of the one in your state folder",
    "AZURE_AUTHORITY_HOST": "the authority to sign in to if the cluster's cloud is unknown",
    "AZURE_TENANT_ID": "service-principal and workload-identity: the tenant",
    "AZURE_CLIENT_ID": "service-principal and workload-identity: the application; managed-identity: the identity",
    "AZURE_CLIENT_SECRET": "service-principal: its secret",
    "AZURE_CLIENT_CERTIFICATE_PATH": "service-principal: its certificate",
    "AZURE_CLIENT_CERTIFICATE_PASSWORD": "service-principal: the password of the certificate",
    "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN": "service-principal: 1 or true sends the chain of the certificate",
    "AZURE_FEDERATED_TOKEN_FILE": "workload-identity: the file with the token",
}


@page
def variables() -> str:
    """Return a row for each environment variable; raise ValueError if they are not those that the sources read."""
    sources = "\n".join(path.read_text(encoding="utf-8") for path in Path(str(kqlmi.__file__)).parent.rglob("*.py"))
    read = {name for name in re.findall(r'"((?:KQLMI|AZURE)_[A-Z_]+)"', sources) if name != "AZURE_PASSWORD"}
    return _documented("variable", _VARIABLES, read)


_FILE: Final = {
    "kqlmi": f"the format of the file, {reader.FORMAT}",
    "mode": "complete: each listed scope has exactly the listed grants. partial: only the listed identities are governed,"
    " in the scopes in which they are listed",
    "unlisted-databases": "untouched (the default), or none: a database that is not listed has no policy; complete mode only",
    "identities": "names of identities, for use in the rest of the file, with their object IDs",
    "unknown-usages": "usages that the service supports and this version of kqlmi does not know",
    "accepted": "accepted findings of an audit",
    "cluster": "the policy of the cluster: identities with their usages; none means no policy, {} an empty one",
    "databases": "the policies of databases, each in the format of the cluster's",
}
_ACCEPTED: Final = {
    "rule": "the rule of the finding",
    "identity": "its identity: object ID, system, or display name",
    "scope": "its scope, as the audit shows it",
    "usage": "its usage",
    "reason": "why it is accepted",
    "until": "the last day on which it is accepted",
}


@page
def policy_file_keys() -> str:
    """Return a row for each key of a policy file; raise ValueError if they are not those that the reader accepts."""
    return _documented("key", _FILE, reader.KEYS)


@page
def acceptance_keys() -> str:
    """Return a row for each key of an accepted finding; raise ValueError if they are not those that the reader accepts."""
    return _documented("key", _ACCEPTED, acceptances._KEYS)  # noqa: SLF001 - the only list of them


def _documented(head: str, rows: dict[str, str], known: Iterable[str]) -> str:
    if missing := set(known) ^ rows.keys():
        raise ValueError(f"Not both documented and known: {', '.join(sorted(missing))}.")
    return table((head, "what it is"), ((code(name), escaped(text)) for name, text in rows.items()))


@page
def policy_file() -> str:
    """Return an exported policy file."""
    policies = {
        Scope.cluster(): Policy.empty().grant(SYSTEM, "ExternalTable"),
        Scope.database("Samples"): Policy.empty().grant(_WHO, "NativeIngestion", "ExternalTable"),
        Scope.database("Sales"): None,
    }
    return block(policyfile.export(Snapshot(policies), cluster="mycluster.westeurope"), "yaml")
