from typing import Any

import pytest

from kqlmi.local.tables import Column, Table

ODD = [
    Table((Column("", "int"),)),
    Table((Column("a\ud800b", "int"),)),
    Table((Column("a", "string"),), (("\ud800",),)),
    Table((Column("a", "long"),), ((10**5000,),)),
    Table((Column("a", "dynamic"),), (("no JSON",),)),
]


@pytest.mark.parametrize("odd", ODD)
def test_a_table_that_duckdb_does_not_take_breaks_no_other_database(cluster: Any, client: Any, odd: Table) -> None:
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
