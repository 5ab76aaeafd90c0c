from typing import Any

import pytest

from kqlmi.local.values.tables import Column, Table

ODD = [
    Table((Column("", "int"),)),
    Table((Column("a\ud800b", "int"),)),
    Table((Column("a", "string"),), (("\ud800",),)),
    Table((Column("a", "long"),), ((10**5000,),)),
    Table((Column("a", "dynamic"),), (("no JSON",),)),
]


@pytest.mark.parametrize("odd", ODD)
def test_a_table_that_duckdb_rejects_breaks_no_other_database(cluster: Any, client: Any, odd: Table) -> None:
    state = cluster._state
    state.put(state.database("Samples").with_table("Odd", odd))
    assert "Odd" in client.refusal("print x = 1 + 1", "Samples", query=True).description
    client.mgmt(".create table T (a: int)", "My other db")
    assert client.query("T | count", "My other db") == [{"Count": 0}]
    assert client.mgmt(".show databases | count") == [{"Count": 2}]
    client.mgmt(".drop table Odd")
    assert "resolve" in client.refusal("Odd", "Samples", query=True).description
    assert client.query("print x = 1 + 1", "Samples") == [{"x": 2}]


def test_a_query_sees_the_other_databases_that_it_names_as_they_are_now(client: Any) -> None:
    client.mgmt(".set T <| print a = 1", "My other db")
    assert client.query("database('My other db').T | count") == [{"Count": 1}]
    client.mgmt(".append T <| print a = 2", "My other db")
    assert client.query("print 1 + 1") == [{"print_0": 2}]
    assert client.query("database('my OTHER db').T | count") == [{"Count": 2}]


CATALOG = "SELECT DISTINCT view_name FROM duckdb_views() WHERE internal AND schema_name IN ('main', 'pg_catalog')"


def test_no_query_reads_the_catalog_of_the_engine(cluster: Any, connect: Any) -> None:
    """The catalog contains the names of tables and columns in every database of every cluster in this process."""
    client = connect(cluster, cluster.token_for("viewer", database="Samples"))
    duckdb = pytest.importorskip("duckdb")
    names = [name for (name,) in duckdb.connect().execute(CATALOG).fetchall()]
    assert {"duckdb_columns", "sqlite_master", "pg_tables"} <= set(names)
    for name in ["duckdb_columns", "sqlite_master", "pg_tables"]:
        for text in (
            f"print toscalar({name} | count)",
            f"print toscalar({name.title()} | count)",
            f"print toscalar(['{name}'] | count)",
            f"print {name} = 1 | extend x = toscalar({name} | count)",
            f"print {name} = toscalar({name} | count)",
            f"print x = 'it' | union (print y = toscalar({name} | count))",
            f"let f = (a: long) {{ toscalar({name} | count) }}; print f(1)",
        ):
            assert "SEM0100" in client.refusal(text, query=True).description, text
    every = ", ".join(f"toscalar({name} | count)" for name in names)
    assert "resolve" in client.refusal(f"print {every}", query=True).description
    quoted = 'duckdb_columns and "duckdb_columns"'
    assert client.query(f"print x = '{quoted}' | extend y = 1") == [{"x": quoted, "y": 1}]


def test_a_scalar_subquery_without_a_table_before_it_reads_the_database_in_context(client: Any) -> None:
    for name, count in (("Samples", 1), ("My other db", 2)):
        client.mgmt(f".set T <| range x from 1 to {count} step 1", name)
    for name, count in (("Samples", 1), ("My other db", 2)):
        assert client.query("print n = toscalar(T | count)", name) == [{"n": count}]
    assert "did you mean 'T'" in client.refusal("print n = toscalar(t | count)", query=True).description
