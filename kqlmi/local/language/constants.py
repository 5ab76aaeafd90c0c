"""``print`` and ``datatable`` with literals, evaluated without the query engine so that every value stays exact."""

from kqlmi.local.language import literals
from kqlmi.local.language.lexer import Kind
from kqlmi.local.language.literals import Literal
from kqlmi.local.language.reader import Mismatch, Reader
from kqlmi.local.values.tables import Column, Table


def evaluate(text: str) -> Table | None:
    """Return the result of a query that consists of literals only, or None for any other query."""
    reader = Reader(text)
    try:
        if reader.take("print"):
            found = _print(reader)
        elif reader.take("datatable"):
            found = _datatable(reader)
        else:
            return None
    except Mismatch:
        return None
    reader.take(";")
    return found if reader.at_end() else None


def _print(reader: Reader) -> Table | None:
    found: dict[str, Literal] = {}
    while not found or reader.take(","):
        name = _column_name(reader) or f"print_{len(found)}"
        literal = literals.read(reader)
        if literal is None or name in found:
            return None
        found[name] = literal
    columns = tuple(Column(name, literal.type) for name, literal in found.items())
    return Table(columns, (tuple(literal.value for literal in found.values()),))


def _column_name(reader: Reader) -> str:
    ahead = Reader(reader.text, reader.position)
    try:
        name = "" if ahead.peek().kind is Kind.STRING else ahead.name()
    except Mismatch:
        return ""
    if not ahead.take("="):
        return ""
    reader.position = ahead.position
    return name


def _datatable(reader: Reader) -> Table | None:
    columns = reader.schema()
    reader.expect("[")
    values: list[object] = []
    while not reader.take("]"):
        literal = literals.read(reader)
        wanted = columns[len(values) % len(columns)].type
        if literal is None or not _fits(literal, wanted):
            return None
        values.append(float(literal.value) if wanted == "real" and literal.value is not None else literal.value)
        if not reader.take(",") and reader.peek().text != "]":
            return None
    width = len(columns)
    if len(values) % width or len({column.name for column in columns}) < width:
        return None
    return Table(columns, tuple(tuple(values[start : start + width]) for start in range(0, len(values), width)))


def _fits(literal: Literal, wanted: str) -> bool:
    if literal.type == wanted:
        return True
    if literal.type != "long" or literal.value is None:
        return False
    return literal.value in literals.INT_RANGE if wanted == "int" else wanted == "real" and abs(literal.value) <= 2**53
