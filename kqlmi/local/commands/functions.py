"""Commands that create, show and drop stored functions, which are parsed only when a query calls them."""

from functools import partial
from typing import Any

from kqlmi.local.dispatch.changes import put
from kqlmi.local.dispatch.registry import Call, Rows, command, shape
from kqlmi.local.language.lexer import mask_hidden
from kqlmi.local.language.reader import Reader
from kqlmi.local.state.entities import Function
from kqlmi.local.values.faults import already_exists, bad_request
from kqlmi.local.values.principals import ADMIN, CREATE, READ_SCHEMA

_SCHEMA = "Name: string, Parameters: string, Body: string, Folder: string, DocString: string"
_KNOWN = {"folder", "docstring", "skipvalidation"}
_put = partial(put, kind="functions", shown=lambda one: mask_hidden(one.body))


@shape("function")
def function_definition(reader: Reader, _verb: str) -> Function:
    """Parse ``[with (…)] Name(parameters) { body }``."""
    properties = reader.properties() if reader.take("with") else {}
    if unknown := sorted(properties.keys() - _KNOWN):
        raise bad_request(f"the local cluster does not support the function property '{unknown[0]}'")
    name = reader.name()
    parameters, body = _bracketed(reader, "(", ")"), _bracketed(reader, "{", "}")
    texts = {one: Reader(properties[one]).strings() for one in ("folder", "docstring") if one in properties}
    return Function(name, parameters, body, **texts)


@command(
    ".create function [{ifnotexists}] {function:function}",
    ".create-or-alter function {function:function}",
    ".alter function {function:function}",
    schema=_SCHEMA,
    name="function_{verb}",
    writes=True,
)
def function_define(call: Call) -> Rows:
    """Create or alter a function, depending on the verb; with ``ifnotexists``, keep an existing one."""
    function: Function = call.args["function"]
    name, verb = function.name, call.args["verb"]
    with call.state.lock:
        if verb == "alter":
            call.allowed(ADMIN, f"Function {name}").function(name)
        database = call.allowed(CREATE, f"Function {name}")
        if name in database.functions:
            if "ifnotexists" in call.args:
                return [_row(database.functions[name])]
            if verb == "create":
                raise already_exists(name, "Function")
            call.require(ADMIN, database, f"Function {name}")
        else:
            database = database.with_admin(f"Function {name}", call.caller.principal)
        _put(call, database, name, function, event="CREATE-FUNCTION")
    return [_row(function)]


@command(".drop function {name:function} [{ifexists}]", schema="Name: string", writes=True)
def function_drop(call: Call) -> Rows:
    """Drop a function, and return the names of those that remain."""
    with call.state.lock:
        name = call.args["function"]
        database = call.allowed(ADMIN, f"Function {name}")
        if name in database.functions or "ifexists" not in call.args:
            database.function(name)
            database = _put(call, database.without_admins(f"Function {name}"), name, None, event="DROP-FUNCTION")
    return [(remaining,) for remaining in database.functions]


@command(".show functions", schema=_SCHEMA, name="functions_show")
@command(".show function {name:function} [with {properties:properties}]", schema=_SCHEMA)
def function_show(call: Call) -> Rows:
    """Return one function or all, with hidden strings masked; a database admin may request one function unmasked."""
    database = call.allowed(READ_SCHEMA)
    if "function" not in call.args:
        return map(_row, database.functions.values())
    function = database.function(call.args["function"])
    wants = call.args.get("properties", {}).get("showobfuscatedstrings") == "true"
    is_admin = bool(call.state.roles(call.caller, database) & ADMIN)
    return [_row(function, is_masked=not (wants and is_admin))]


def _bracketed(reader: Reader, opening: str, closing: str) -> str:
    start = reader.peek().start
    reader.expressions(opening, closing)
    return reader.text[start : reader.position]


def _row(function: Function, *, is_masked: bool = True) -> tuple[Any, ...]:
    body = mask_hidden(function.body) if is_masked else function.body
    return (function.name, function.parameters, body, function.folder, function.docstring)
