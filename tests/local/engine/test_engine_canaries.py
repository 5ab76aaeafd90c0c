"""Tests of what the local cluster assumes about duckdb-kql and DuckDB, each with the code that depends on it.

A failing row states what has changed and which code depends on it. If a defect was fixed, its workaround there can be removed.
"""

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import duckdb_kql
import pytest
from duckdb_kql.errors import KqlError, KqlSyntaxError, KqlUnsupportedError
from duckdb_kql.types import kusto_type

from kqlmi.local.engine import results, translation
from kqlmi.local.query import engine

SCHEMA = {"a.T": ["x", "Name"], "b.U": ["x"], f"a.kqlmi_{0:032x}": ["x"]}
SOURCE = f"kqlmi_{0:032x}"


@dataclass(frozen=True)
class Canary:
    """An assumption, which is a function named after it, and the name of the code that depends on it."""

    holds: Callable[[], object]
    look_at: str

    def __str__(self) -> str:
        return self.holds.__name__


CANARIES: list[Canary] = []


def leaning(look_at: str) -> Callable[[Callable[[], object]], Callable[[], object]]:
    """Register an assumption with the name in ``kqlmi.local`` that depends on it."""

    def register(holds: Callable[[], object]) -> Callable[[], object]:
        CANARIES.append(Canary(holds, look_at))
        return holds

    return register


@pytest.mark.parametrize("canary", CANARIES, ids=str)
def test_the_engine_behaves_as_assumed(canary: Canary) -> None:
    where = f"look at kqlmi.local.{canary.look_at}"
    what = f"duckdb-kql {version('duckdb-kql')}: no longer true that {str(canary).replace('_', ' ')}; {where}"
    try:
        holds = canary.holds()
    except Exception as error:
        raise AssertionError(what) from error
    assert holds, what


@pytest.mark.parametrize("canary", CANARIES, ids=str)
def test_the_dependent_code_exists(canary: Canary) -> None:
    room, module, *names = canary.look_at.split(".")
    found: Any = importlib.import_module(f"kqlmi.local.{room}.{module}")
    for name in names:
        found = getattr(found, name)


@pytest.mark.parametrize("holds", [lambda: False, lambda: value("1 +")], ids=["false", "error"])
def test_a_failing_assumption_names_the_dependent_code(holds: Callable[[], object]) -> None:
    with pytest.raises(AssertionError, match=r"duckdb-kql \d.*; look at kqlmi\.local\.query\.engine\._LIMITS"):
        test_the_engine_behaves_as_assumed(Canary(holds, "query.engine._LIMITS"))


def sql(text: str, values: dict[str, Any] | None = None) -> Any:
    return duckdb_kql.to_sql(text, SCHEMA, values, "a", allow_write=False)


def run(text: str, *, statement: Callable[[str], str] = str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the types and rows of a query over two tables, run as the local cluster does."""
    cursor = duckdb_kql.connect(config=engine._LIMITS)
    try:
        for setup in (*translation.MACROS, "ATTACH ':memory:' AS a", "ATTACH ':memory:' AS b"):
            cursor.execute(setup)
        cursor.execute('CREATE TABLE a."T" AS SELECT 1::BIGINT AS x, \'b\' AS "Name"')
        cursor.execute("SET TimeZone='UTC'")
        answer = cursor.execute(statement(str(sql(text))))
        return [str(kind) for _, kind, *_ in answer.description], answer.fetchall()
    finally:
        cursor.close()


def value(expression: str) -> Any:
    return run(f"print x = {expression}")[1][0][0]


def refuses(text: str, kind: type[Exception] = KqlError, message: str = "") -> bool:
    """Check whether a text is refused in translation or when run."""
    try:
        run(text)
    except Exception as error:  # noqa: BLE001 - of any kind, checked here
        return isinstance(error, kind) and bool(re.search(message, str(error)))
    return False


# The form of generated SQL


@leaning("query.engine._PLACED")
def tables_are_written_with_their_database_in_double_quotes() -> object:
    return '"a"."T"' in sql("T") and '"b"."U"' in sql("T | join (database('b').U) on x")


@leaning("query.engine._with_sources")
def a_name_for_rows_is_always_written_with_its_database() -> object:
    texts = (
        SOURCE,
        f"T | join kind=inner ({SOURCE}) on x",
        f"union T, {SOURCE}",
        f"T | where x in (({SOURCE} | project x))",
    )
    return all(SOURCE in sql(text) and SOURCE not in engine._PLACED.sub("", sql(text)) for text in texts)


@leaning("query.engine._with_sources")
def a_union_writes_the_names_of_its_tables_as_texts() -> object:
    return f"'{SOURCE}'" in sql(f"union withsource=S T, {SOURCE}")


@leaning("query.engine.Engine.query")
def a_scalar_subquery_on_its_own_names_its_tables_without_a_database() -> object:
    return 'FROM "T"' in sql("print toscalar(T | count)")


@leaning("query.engine._catalog")
def a_table_without_its_database_is_written_in_double_quotes() -> object:
    return 'FROM "duckdb_columns"' in sql("print toscalar(duckdb_columns | count)")


@leaning("engine.translation._QUOTED")
def columns_are_written_in_double_quotes_and_new_names_after_as() -> object:
    return (
        '"x" AS "x"' in sql("T | project x") and 'AS "y"' in sql("T | extend y = x") and '"X"' in sql("T | where X > 1")
    )


@leaning("engine.translation._QUOTED")
def a_double_quote_in_a_name_is_doubled() -> object:
    return '"a""b"' in sql("print ['a\"b'] = 1")


@leaning("query.engine._TEXT")
def texts_are_written_in_single_quotes_that_are_doubled_inside() -> object:
    return sql("print x = 'it\\'s $$ \\\\'") == """SELECT 'it''s $$ \\' AS "x\""""


@leaning("engine.translation._SERIES")
def a_range_is_a_series_that_is_unnested_and_casts_where_it_is_of_numbers() -> object:
    numbers = translation._SERIES.findall(sql("range x from 1 to 3 step 1"))
    moments = [
        translation._SERIES.findall(sql(f"range t from {first} to {last} step 1h"))
        for first, last in (("1h", "3h"), ("datetime(2020-01-01)", "datetime(2020-01-02)"), ("ago(1d)", "now()"))
    ]
    return numbers == ["CAST("] and all("CAST(" not in found and "" in found for found in moments)


@leaning("engine.translation.MACROS")
def nothing_else_makes_as_many_values_as_a_query_asks_for() -> object:
    series = "T | make-series n = count() on x from 1 to 9999999999 step 1"
    texts = ("print range(1, 9999999999)", "print repeat(1, 999999999)", "print strrep('x', 999999999, ',')", series)
    return all(refuses(text, KqlUnsupportedError) for text in texts)


@leaning("engine.translation._REPEAT")
def a_text_is_repeated_by_a_function_that_a_macro_can_replace() -> object:
    return "repeat('x', " in sql("print strrep('x', 9)") and refuses("print strrep('x', 9999)", Exception, "repeats")


# Input and output of the translation


@leaning("engine.translation.to_sql")
def parameters_are_declared_and_bound_and_never_written_into_sql() -> object:
    text = "declare query_parameters(p: long, q: string); print p, q"
    bare, bound = sql(text), sql(text, {"p": 7, "q": "it's"})
    declared = [(one.name, one.type) for one in bare.declarations]
    return (
        (declared, set(bare.unbound)) == ([("p", "long"), ("q", "string")], {"p", "q"})
        and (bound.unbound, sorted(bound.parameters.values(), key=str)) == ((), [7, "it's"])
        and all(f"${slot}" in bound for slot in bound.parameters)
        and "it" not in bound
    )


@leaning("engine.translation._translate")
def functions_are_passed_by_database() -> object:
    functions: dict[str | None, list[str]] = {"a": ["function F() { T }"]}
    return '"a"."T"' in duckdb_kql.to_sql("F()", SCHEMA, None, "a", allow_write=False, functions=functions)


@leaning("query.engine._LIMITS")
def no_connection_can_access_files_or_be_configured_to() -> object:
    connection = duckdb_kql.connect(config=engine._LIMITS)

    def fails(statement: str) -> bool:
        try:
            connection.execute(statement)
        except Exception:  # noqa: BLE001 - DuckDB's
            return True
        return False

    try:
        statements = (
            *("SELECT * FROM read_text('/etc/hostname')", "SET enable_external_access=true", "ATTACH '/tmp/x.db'"),
            *("COPY (SELECT 1) TO '/tmp/x.csv'", "INSTALL httpfs"),
        )
        return all(map(fails, statements))
    finally:
        connection.close()


# What is refused, and the form of the errors


@leaning("query.external_calls.replaced")
def the_engine_itself_accesses_nothing_outside() -> object:
    texts = (
        *("externaldata(x: string) ['https://x.blob.core.windows.net/c/f.csv']", "external_table('X')"),
        *("evaluate python(typeof(*), 'x')", "T | evaluate sql_request('x', 'y')", "cluster('x').database('y').T"),
        *("print read_csv('/etc/hostname')", "T | evaluate http_request('https://x.example')"),
    )
    return all(map(refuses, texts))


@leaning("engine.translation._translate")
def a_command_is_not_translated() -> object:
    return all(map(refuses, (".drop table T", ".set New <| T", ".ingest inline into table T <| 1")))


@leaning("engine.results.refusal")
def there_are_two_classes_of_errors() -> object:
    return refuses("T | where where", KqlSyntaxError) and refuses("T | serialize x = row_number()", KqlUnsupportedError)


@leaning("engine.results._MISSING_TABLE")
def a_missing_table_is_named() -> object:
    return refuses("Missing", Exception, results._MISSING_TABLE.pattern.replace("(.+?)", "(Missing)"))


@leaning("engine.results._MISSING_COLUMN")
def a_missing_column_is_named() -> object:
    return refuses("T | where missing == 1", Exception, '[Cc]olumn "?missing"? not found')


@leaning("engine.results._RAISED")
def an_error_raised_in_sql_keeps_its_message() -> object:
    try:
        run(
            "range x from 1 to 2000000 step 1",
            statement=lambda text: translation._SERIES.sub(translation._bounded, text),
        )
    except Exception as error:  # noqa: BLE001 - DuckDB's
        return results._RAISED.match(str(error))
    return False


# The types of values


@leaning("engine.results._FROM_DUCKDB")
def each_kusto_type_has_its_own_engine_type() -> object:
    made = {
        "bool": "true",
        "int": "int(1)",
        "long": "1",
        "real": "1.5",
        "string": "'s'",
        "datetime": "datetime(2020-01-01)",
        "timespan": "1h",
        "guid": "guid(00000000-0000-0000-0000-000000000000)",
        "dynamic": "dynamic({'a': 1})",
    }
    kinds, _ = run(f"print {', '.join(made.values())}")
    return [kusto_type(kind) for kind in kinds] == list(made) and set(made) == set(results._FROM_DUCKDB)


@leaning("engine.results._kusto")
def an_untyped_null_is_the_only_value_of_the_type_null() -> object:
    return [kind.strip('"') for kind in run("print dynamic(null), int(null)")[0]] == ["NULL", "INTEGER"]


@leaning("engine.results._converter")
def a_list_of_dynamic_values_is_a_list_of_json() -> object:
    return run("T | summarize make_list(dynamic({'a': 1}))") == (["JSON[]"], [(['{"a":1}'],)])


@leaning("query.engine._execute")
def a_datetime_has_no_zone_if_the_session_is_in_utc() -> object:
    kinds, [[moment]] = run("print datetime(2020-01-01T02:00:00+02:00)")
    return (kinds, str(moment)) == (["TIMESTAMP"], "2020-01-01 00:00:00")


# What is silently misinterpreted: each is worked around, or refused, before the engine sees it


@leaning("engine.kqltext.for_engine")
def the_mark_of_a_hidden_text_is_kept_in_it() -> object:
    return value("h'a'") == "h'a'"


@leaning("engine.kqltext.for_engine")
def the_fences_of_a_text_are_kept_in_it() -> object:
    return value("```a```") == "```a```"


@leaning("engine.kqltext._gap")
def a_rare_end_of_a_line_does_not_end_a_comment() -> object:
    return refuses("T | // a\u2028 count", KqlSyntaxError)


@leaning("engine.kqltext.for_engine")
def escapes_by_number_lose_their_backslash() -> object:
    return [value(rf"'\{code}'") for code in ("x41", "101", "u0041")] == ["x41", "101", "u0041"]


@leaning("engine.kqltext._literal")
def a_bool_of_a_number_is_false() -> object:
    return value("bool(1)") is False


@leaning("engine.kqltext._literal")
def a_datetime_that_is_not_read_is_null() -> object:
    return value("datetime('bad')") is None


@leaning("engine.kqltext._refuse_assignments")
def a_single_equals_sign_compares_nothing() -> object:
    return run("T | where x = 2")[1] == [(1, "b")]


@leaning("engine.kqltext._refuse_harm")
def a_decimal_is_computed_with_binary_floating_point() -> object:
    return run("print decimal(1.1)")[0] == ["DOUBLE"]


@leaning("engine.kqltext._refuse_harm")
def a_range_of_reals_is_one_of_integers() -> object:
    return run("range x from 1.5 to 3.5 step 1")[0] == ["BIGINT"]


@leaning("engine.kqltext._refuse_harm")
def a_seventh_fractional_digit_is_lost() -> object:
    return value("datetime(2020-01-01 00:00:00.1234567)").microsecond == 123456


@leaning("engine.translation._refuse_other_case")
def upper_and_lower_case_of_a_name_are_the_same() -> object:
    return run("t | where name == 'b' and X == 1")[1] == [(1, "b")]
