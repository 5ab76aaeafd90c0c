"""Documented commands that the local cluster does not support, by their beginnings."""

from kqlmi.local.dispatch.registry import known, shape
from kqlmi.local.language.reader import Reader

_POLICIES = frozenset(
    {
        "auto_delete", "caching", "capacity", "encoding", "extent_tags_retention", "ingestionbatching", "ingestiontime",
        "merge", "mirroring", "multidatabaseadmins", "partitioning", "query_weak_consistency", "request_classification",
        "restricted_view_access", "retention", "row_level_security", "roworder", "sandbox", "sharding",
        "streamingingestion",
    }
)  # fmt: skip
_ENTITIES = (
    "cluster", "database [{known_name:_}]", "table [{known_name:_}]", "tables {names:_}", "column {known_name:_}",
    "external table {known_name:_}", "materialized-view {known_name:_}",
)  # fmt: skip
_ROWS = {
    "materialized views": """
        .create [async] [ifnotexists] materialized-view; .create-or-alter materialized-view; .alter materialized-view;
        .show materialized-view; .show materialized-views; .show materialized view; .drop materialized-view;
        .add materialized-view; .set materialized-view; .rename materialized-view; .enable materialized-view;
        .disable materialized-view; .clear materialized-view""",
    "ingestion mappings": """
        .create table {name:_} ingestion; .create-or-alter table {name:_} ingestion; .alter table {name:_} ingestion;
        .alter-merge table {name:_} ingestion; .drop table {name:_} ingestion; .show table {name:_} ingestion;
        .create database {name:_} ingestion; .create-or-alter database {name:_} ingestion; .show ingestion mappings;
        .alter database {name:_} ingestion; .alter-merge database {name:_} ingestion;
        .drop database {name:_} ingestion; .show database [{known_name:_}] ingestion; .show cluster ingestion""",
    "mappings of external tables": """
        .create external table {name:_} mapping; .create-or-alter external table {name:_} mapping;
        .alter external table {name:_} mapping; .drop external table {name:_} mapping;
        .show external table {name:_} mapping; .show external table {name:_} mappings""",
    "operations of queued ingestion": ".show queued ingestion; .cancel queued ingestion",
    "failures of streaming ingestion": ".show streamingingestion",
    "the schema cache of ingestion": ".clear database cache; .clear cluster cache",
    "cancelling operations": ".cancel operation",
    "extents": """
        .show cluster extents; .show database [{known_name:_}] extents; .show table {name:_} extents; .show extents;
        .show tables {names:_} extents; .drop extents; .drop extent; .move extents; .move async extents;
        .replace extents; .replace async extents; .drop table {name:_} extents; .alter extent tags;
        .show table {name:_} operations mirroring; .show database [{known_name:_}] operations mirroring""",
    "the statistics of query acceleration": """
        .show external table {name:_} operations; .show external tables operations""",
    "the role unrestrictedviewers": """
        .add database {name:_} unrestrictedviewers; .drop database {name:_} unrestrictedviewers;
        .set database {name:_} unrestrictedviewers; .show database {name:_} unrestrictedviewers""",
    "the principals of a cluster": ".show cluster principals; .add cluster; .drop cluster; .set cluster",
    "showing the access of a principal": ".show principal access",
    "rows in brackets": ".ingest inline into table {name:_} {known_bracket:_}",
    "schemas as JSON": ".show external table {name:_} schema as json; .show table {name:_} schema as json",
    "showing capacity": ".show capacity",
    "containers for exports": ".show export containers",
    "follower databases": ".show follower; .alter follower; .alter-merge follower; .add follower; .drop follower",
    "stored query results": ".set stored_query_result; .set-or-replace stored_query_result; .show stored_query_results",
    "graph models": ".create-or-alter graph_model; .show graph_model; .show graph_models; .make graph_snapshot",
    "entity groups": """
        .create entity_group; .create-or-alter entity_group; .alter entity_group; .alter-merge entity_group;
        .drop entity_group; .show entity_group; .show entity_groups""",
    "workload groups": ".create-or-alter workload_group; .alter-merge workload_group; .show workload_groups",
    "purges": ".purge; .show purges; .delete table {name:_} records; .delete async table {name:_} records",
    "changes to columns": """
        .alter column; .drop column; .rename column; .rename columns; .alter table {name:_} {schema:_};
        .alter-merge table {name:_} {schema:_}; .drop table {name:_} columns; .alter table {name:_} column-docstrings""",
    "changes to tables": """
        .rename table; .rename tables; .undo drop table; .clear table; .create tables; .create-merge tables; .drop tables;
        .alter table {name:_} docstring; .alter table {name:_} folder; .alter function {name:_} docstring;
        .alter function {name:_} folder; .create function ifnotexists {name:_} docstring""",
}  # fmt: skip


@shape("known_name")
def _name(reader: Reader, _verb: str) -> str:
    """Take a name, which may be qualified, or ``*``."""
    if reader.take("*"):
        return "*"
    name = reader.name({"policy", "extents", "operations", "ingestion"})
    while reader.take("."):
        name = reader.name()
    return name


shape("known_bracket")(lambda reader, _verb: reader.expect("["))


@shape("known_policy")
def _policy(reader: Reader, _verb: str) -> str:
    name = reader.name()
    if name not in _POLICIES:
        raise reader.mismatch(f"a policy ({', '.join(sorted(_POLICIES))})")
    return name


known(
    "the policy '{policy}'",
    *(
        f".{verb} {entity} policy {{known_policy:policy}}"
        for verb in ("show", "alter", "alter-merge", "delete")
        for entity in _ENTITIES
    ),
)
known("the duplication of ingestion", ".dup-next-ingest", ".dup-next-failed-ingest", flow="dup_next_ingest")
for _feature, _patterns in _ROWS.items():
    known(_feature, *(" ".join(one.split()) for one in _patterns.split(";")))
