"""Tests of finding identities in text, with a corpus written flow by flow and trap by trap from the documentation's syntax."""

import json
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqlmi.model.kql import quoting
from kqlmi.model.kql.tokenizer import Token, tokens
from kqlmi.model.statement import Statement
from kqlmi.model.uses.queryflows import UNKNOWN_FLOW
from kqlmi.model.uses.references import Reference
from kqlmi.model.workflows import WORKFLOWS, Workflow
from tests.work import grows_no_faster_than_its_input

A, B = "11111111-2222-3333-4444-55555555aaaa", "66666666-7777-8888-9999-00000000bbbb"
URL = "https://acct.blob.core.windows.net/c"
SQL = "Server=tcp:s.database.windows.net,1433;Initial Catalog=db"
COSMOS = "AccountEndpoint=https://a.documents.azure.com:443/;Database=d;Collection=c"
AI = "https://a.openai.azure.com/openai/deployments/m/embeddings?api-version=2024-06-01"
MI = "Active Directory Managed Identity"
AUTH = f'Authentication="{MI}"'
SYS, OID = f"{URL};managed_identity=system", f"{URL};managed_identity={A}"

Expected = tuple[str, str | None, str]
Case = tuple[str, *tuple[Expected, ...]]


def one(flow: str, identity: str | None, *texts: str, named: str = "") -> list[Case]:
    """Return cases in which texts use one identity for one flow; ``named`` is its spelling in them, if that differs."""
    return [(text, (flow, identity, named or str(identity))) for text in texts]


# fmt: off
EXTERNAL_TABLES: list[Case] = [
    *one(
        "external_table.storage", "system",
        f".create external table T (x:int) kind=storage dataformat=csv (h@'{SYS}')",
        f".create-or-alter external table ['my T'] (x:int, s:string)\nkind = blob\ndataformat = csv\n(\n  h'{SYS}'\n)\nwith (folder='f')",
        f".alter external table T (x:int) kind=storage partition by (D:datetime = bin(x, 1d)) pathformat = ('day=' datetime_pattern('yyyy', D)) dataformat=parquet (\"{SYS}\")",
        f".create external table T (x:int) kind=adl partition by bin(Timestamp, 1d) dataformat=csv (~~~{SYS}~~~)",
        f".create external table kind (kind:string) kind=storage dataformat=csv ('{URL};impersonate', '{SYS}') with (docstring=';managed_identity={A}')",
    ),
    *one("external_table.storage", A, f'.create external table T (x:int) kind=storage dataformat=csv (h@"{OID}")'),
    *one(
        "external_table.delta", "system",
        f".create external table D kind=delta (h@'{SYS}')",
        ".create-or-alter external table D (x:int) kind=delta ('abfss://fs@acct.dfs.core.windows.net/t;managed_identity=system') with (docstring='d')",
        f".alter external table D kind = DELTA\r\n(h'{SYS}')\r\n",
        f"// the lake\n.create external table D // here\nkind=delta (```{SYS}```)",
    ),
    *one("external_table.delta", A, f".create external table D kind=delta ('{OID}')"),
    *one(
        "external_table.sql", "system",
        f".create external table S (x:int) kind=sql table=T (h@'{SQL};{AUTH}')",
        f".create-or-alter external table S (x:int) kind=sql table=['dbo.T'] (h'{SQL};Authentication=Active Directory Managed Identity;')",
        f".alter external table S (x:int) kind=sql (@\"{SQL};Authentication=\"\"{MI}\"\"\") with (sqlDialect='SqlServer')",
        f".create external table S (x:int) kind=sql table=T ('{SQL};{AUTH};User Id=') with (createifnotexists=true)",
        named=MI,
    ),
    *one("external_table.sql", A, f".create external table S (x:int) kind=sql table=T (h@'{SQL};{AUTH};User Id={A};')"),
    *one(
        "external_table.cosmosdb", "system",
        f".create external table C (x:int) kind=sql (h@'{COSMOS};{AUTH};') with (sqlDialect='CosmosDbSQL')",
        f".create-or-alter external table C (x:int) kind=sql\n(\nh@'{COSMOS};{AUTH};'\n)",
        f".alter external table C (x:int) kind=sql ('{SQL};{AUTH}') with (folder='x', sqlDialect=\"cosmosdbsql\")",
        named=MI,
    ),
    *one("external_table.cosmosdb", A, f".create external table C (x:int) kind=sql (h@'{COSMOS};{AUTH};User Id=\"{A}\"')"),
]

AUTOMATED: list[Case] = [
    *one(
        "continuous_export", "system",
        '.create-or-alter continuous-export E over (T) to table X with (managedIdentity="system", intervalBetweenRuns=5m) <| T',
        ".create continuous-export E to table X\nwith\n(intervalBetweenRuns=1h, managedIdentity='system')\n<| T",
        ".create-or-alter continuous-export ['my E'] to table X with (managedidentity = h'system') <| T | where x == 'managedIdentity'",
        ".alter continuous-export E to table X with (managedIdentity=system) <| T",
    ),
    *one(
        "continuous_export", A,
        f".create-or-alter continuous-export E over (T) to table X with (managedIdentity={A}, intervalBetweenRuns=5m) <| T",
        f".create-or-alter continuous-export E over (T) to table X with (intervalBetweenRuns=5m, managedIdentity='{A}') <| T",
        f'.create-or-alter continuous-export E over (T) to table X with (managedIdentity="{A}"',
    ),
    *one(
        "update_policy", "system",
        ".alter table T policy update @'[{\"IsEnabled\":true,\"Source\":\"S\",\"Query\":\"F()\",\"ManagedIdentity\":\"system\"}]'",
        '.alter table T policy update "[{\\"IsEnabled\\":true,\\"Query\\":\\"F()\\",\\"ManagedIdentity\\":\\"system\\"}]"',
        ".alter-merge table ['my T'] policy update\n```\n[\n  {\n    \"Query\": \"F()\",\n    \"ManagedIdentity\": \"system\"\n  }\n]\n```",
        ".alter table T policy update \"[{'Query':'F()','ManagedIdentity':'system'}]\"",
        ".alter table T policy update h'[{\"managedidentity\" : \"system\"}]'",
        ".alter table policy policy update '[{ManagedIdentity:\"system\"'",
    ),
    *one("update_policy", A, f".alter table T policy update '[{{\"ManagedIdentity\":\"{A}\"}},{{\"ManagedIdentity\":null}}]'"),
    *one("update_policy", "system", ".alter table T policy update '[{\"ManagedIdentity\":\"s\\\\u0079stem\"}]'", named=r"s\\u0079stem"),
    (
        f".alter table T policy update '[{{\"ManagedIdentity\":\"{A}\"}},{{\"ManagedIdentity\":\"system\"}}]'",
        ("update_policy", A, A), ("update_policy", "system", "system"),
    ),
    (
        f".alter table T policy update @'[{{\"Query\":\"externaldata(x:string)[h''{OID}'']\",\"ManagedIdentity\":\"system\"}}]'",
        ("externaldata", A, A), ("update_policy", "system", "system"),
    ),
    (
        f'.alter table T policy update ```[{{"Query":"let u = \\"{SYS}\\";\\n// ;managed_identity={B}\\nexternaldata(x:string)[u]"}}]```',
        ("externaldata", "system", "system"),
    ),
    *one(
        "query_acceleration", A,
        f".alter external table D policy query_acceleration '{{\"IsEnabled\":true,\"Hot\":\"1.00:00:00\",\"ManagedIdentity\":\"{A}\"}}'",
        f'.alter-merge external table D policy query_acceleration ```{{"ManagedIdentity": "{A}"}}```',
        f".alter external table ['my D'] policy query_acceleration @'{{\"ManagedIdentity\":\"{A}\",\"Hot\":\"1.00:00:00\"}}'",
        f".alter external table D policy query_acceleration \"{{'ManagedIdentity':'{A}'}}\"",
    ),
    *one("query_acceleration", "system", ".alter external table D policy query_acceleration '{\"ManagedIdentity\":\"SYSTEM\"}'", named="SYSTEM"),
]

MOVED: list[Case] = [
    *one(
        "export.to_storage", "system",
        f".export to csv (h@'{SYS}') <| T",
        f".export async compressed to parquet (\n  h'{SYS}'\n) with (namePrefix='p') <|\nT",
        f".export async to json ('{URL};impersonate', \"{SYS}\") <| print 'x;managed_identity=system'",
        f".export compressed to tsv (```{SYS}```) with (includeHeaders='all') <| T",
    ),
    *one("export.to_storage", A, f".export to csv (h@'{OID}') <| T"),
    (f".export to csv (h@'{SYS}') <| externaldata(x:int)[h@'{OID}']", ("export.to_storage", "system", "system"), ("externaldata", A, A)),
    *one(
        "ingest.into", A,
        f".ingest into table T ('{OID}')",
        f".ingest async into table ['my;T'] (h'{OID}') with (format='csv')",
        f".ingest into table T h@\"{OID}\" with (format='csv')",
        f".ingest into T (\r\n  ~~~{OID}~~~\r\n)",
    ),
    (f".ingest into table T ('{SYS}', '{OID}', '{SYS}')", ("ingest.into", "system", "system"), ("ingest.into", A, A), ("ingest.into", "system", "system")),
    *one(
        "ingest.queued_cmd", "system",
        f".ingest-from-storage-queued into table database('Db').T with (format='csv') <| .list blobs ('{SYS}')",
        f".ingest-from-storage-queued into table T EnableTracking=true\nwith (\n  format='csv'\n)\n<|\n  .list blobs (\n    \"{SYS}\"\n  )",
        f".ingest-from-storage-queued into table database (\"Db\").['my T'] <| '{URL}/1?sv=1'\n  h'{SYS}'",
        f".ingest-from-storage-queued into table T <| .list blobs (h@'{SYS}') Suffix=\";managed_identity={A}\" MaxFiles=2",
    ),
    *one("ingest.queued_cmd", A, f".ingest-from-storage-queued into table T <| '{OID}'"),
    *one(
        "list_blobs", "system",
        f".list blobs ('{SYS}') MaxFiles=20",
        f'.list blobs (\n  "{SYS}"\n)\nSuffix="csv"',
        f".list blobs (h@'{SYS}') PathFormat=(\"x;managed_identity={A}\" datetime_pattern(\"yyyy\", d))",
        f".list blobs (```{SYS}```)",
    ),
    *one("list_blobs", A, f".list blobs ('{OID}')"),
]

TABLES: list[Case] = [
    *one(
        "externaldata", "system",
        f'externaldata(x:string)[h@"{SYS}"]',
        f"externaldata (x:string, y:int)\n[\n  '{SYS}'\n]\nwith (format='csv')\n| count",
        f"let T = externaldata(x:string)[~~~{SYS}~~~]; T | take 1",
        f"T | join (externaldata(x:string)[@'{URL}/it''s;managed_identity=system']) on x",
        f'T | where x in ((externaldata(x:string)[h"{SYS}"] | project x))',
        f"externaldata(x:string)['{URL};' 'managed_identity=' h'system']",
        f"externaldata(x:string)['{URL}'   // ;managed_identity={A}\n  h';managed_identity=system']",
        f"let c = '{SYS}'; externaldata(x:string)[c]",
        f"let ['my c'] = h'{SYS}'; externaldata(x:string)[['my c']]",
        f"let a = '{URL}'; let b = strcat(a, ';managed_identity='); externaldata(x:string)[strcat(b, 'system')]",
        f'let c = (("{SYS}")); externaldata(x:string)[tostring(c)]',
        f"let f = (c:string) {{ c }}; let c = '{SYS}'; externaldata(x:string)[c]",
        f"externaldata(x:string)[strcat('{URL}/', format_datetime(now(), 'yyyy'), ';managed_identity=system')]",
        f"externaldata(x:string)['{URL};impersonate', '{URL}?sv=1&sig=2', '{URL};sharedkey', '{SYS}']",
        f"external_data(x:string)['{SYS}']",
        f".set-or-append T <| externaldata(x:string)['{SYS}']",
        f".create function F(n:int) {{ externaldata(x:string)['{SYS}'] | take n }}",
        f".create-or-alter function with (docstring=';managed_identity={A}', folder='f') F() {{\n  let c = '{SYS}';\n  externaldata(x:string)[c]\n}}",
        f"{{ externaldata(x:string)['{SYS}'] }}",
        f".create materialized-view V on table T {{ T | lookup (externaldata(x:string)['{SYS}']) on x }}",
        f"externaldata(x:string)['{SYS}', 'https://b.blob.core.windows.net/c;managed_identity=",
        f"print s = 'open\nexternaldata(x:string)['{SYS}']",
        f"externaldata(x:string)['{SYS}\\q;managed_identity={A}']",
        f"set notruncation;\n#directive\nexternaldata(x:string)['{URL} ; Managed_Identity = system ;']",
    ),
    *one("externaldata", A, f"externaldata(x:string)[h@'{URL};managed_identity={A.upper()}']", named=A.upper()),
    *one("externaldata", A, f"let i = '{A}'; externaldata(x:string)[strcat('{URL};managed_identity=', i)]"),
    *one("externaldata", "system", f"externaldata(x:string)['{URL};managed_identity=syst' 'em']", named="syst"),
    *one("externaldata", "system", f"externaldata(x:string)['{URL};\\x6danaged_identity=\\x73y\\163t\\u0065m']", named=r"\x73y\163t\u0065m"),
    *one("externaldata", "system", f'externaldata(x:string)["{URL}/\\"\\\\;managed_identity=system"]'),
    *one("externaldata", "system", f"externaldata(x:string)['{URL};managedIdentity=system']"),
    *one("externaldata", "loader", f"externaldata(x:string)['{URL};managed_identity=loader']"),
    *one("externaldata", "system]", f"externaldata(x:string)['{URL};managed_identity=system]']"),
    *one(
        "inline_external_table", "system",
        f'inline_external_table(x:long) kind=storage dataformat=parquet (h@"{SYS}")',
        f"inline_external_table(T:datetime, R:string)\n  kind=storage\n  partition by(\n    Day:datetime = startofday(T), P:string = R\n  )\n  pathformat=('day=' datetime_pattern('yyyy', Day) '/;managed_identity={A}' P)\n  dataformat=csv\n  (\"{SYS}\")\n| count",
        f"inline_external_table kind=delta (h@'{SYS}') | where x > 0",
        f"let c = '{SYS}'; T | union (inline_external_table(x:int) kind=delta (c))",
    ),
    *one("inline_external_table", A, f"inline_external_table(x:long) kind=storage dataformat=csv ('{URL};impersonate', '{OID}') with (format='a')"),
]

PLUGINS: list[Case] = [
    *one(
        "infer_storage_schema", "system",
        f"evaluate infer_storage_schema(dynamic({{'StorageContainers':[h@'{SYS}'],'DataFormat':'csv'}}))",
        f'let options = dynamic({{\n  "FileNamePrefix": "x;managed_identity={A}",\n  "StorageContainers": [\n    h@"{SYS}"\n  ]\n}});\nevaluate infer_storage_schema(options)',
        f"evaluate infer_storage_schema(bag_pack('StorageContainers', pack_array('{SYS}'), 'DataFormat', 'csv'))",
        f"let u = '{SYS}'; evaluate infer_storage_schema(bag_pack('StorageContainers', pack_array(u)))",
        f"evaluate infer_storage_schema(bag_pack('DataFormat', 'csv', 'StorageContainers', dynamic([\"{SYS}\"])))",
    ),
    *one("infer_storage_schema", A, f"evaluate infer_storage_schema(dynamic({{'StorageContainers':['{OID}']}}))"),
    *one(
        "python.external_artifacts", "system",
        f"T | evaluate python(typeof(*), script, external_artifacts=bag_pack('a.zip','{SYS}'))",
        f"T | evaluate hint.distribution = per_node python(typeof(*, fx:double),\n```\nimport x # ;managed_identity={A}\n```\n, bag_pack('gain', 100, 'url', '{OID}'), bag_pack('a.zip', h'{SYS}'))",
        f"let a = dynamic({{'a.zip':'{SYS}'}}); T | evaluate hint.remote=local python(typeof(*), 's', dynamic({{}}), a, true)",
        f"T | evaluate python(typeof(*), 's', external_artifacts = dynamic({{\"a\":\"{URL}?sv=1\", \"b\":\"{SYS}\"}}))",
    ),
    *one("python.external_artifacts", A, f".create function F(T:(*)) {{ T | evaluate python(typeof(*), 's', dynamic({{}}), pack('a', '{OID}')) }}"),
    *one(
        "r.external_artifacts", "system",
        f"T | evaluate r(typeof(*), script, dynamic({{}}), bag_pack('a.zip','{SYS}'))",
        f"T | evaluate r(typeof(*, fx:double), 'result <- df\\n' 'x', bag_pack('n', 1), dynamic({{'a.zip':h'{SYS}'}}))",
        f"let z = strcat('{URL}/z', ';managed_identity=system'); T | evaluate r(typeof(*), 's', dynamic(null), bag_pack('a.zip', z))",
        f"T | evaluate r(typeof(*), 's', external_artifacts=pack_dictionary('a.zip', @'{SYS}'))",
    ),
    *one("r.external_artifacts", A, f"T | evaluate r(typeof(*), 's', dynamic({{}}), dynamic({{\"a\":\"{OID}\"}}))"),
    *one(
        "sql_request", "system",
        f"evaluate sql_request('{SQL};{AUTH};','select 1 as x'):(x:long)",
        f"evaluate sql_request(@\"{SQL};Authentication=\"\"{MI}\"\"\", 'select ''x;managed_identity={A}''')",
        f"let c = h'{SQL};{AUTH}';\nevaluate sql_request(c, 'select 1', dynamic({{}}))",
        f"evaluate sql_request(strcat('{SQL}', ';{AUTH}'), 'select 1')",
        f"evaluate sql_request('{SQL};authentication = {MI}', 'select 1')",
        named=MI,
    ),
    *one("sql_request", A, f"evaluate sql_request(h\"{SQL};Authentication=\\\"{MI}\\\";User Id={A}\", 'select 1')"),
    *one(
        "cosmosdb_sql_request", A,
        f"evaluate cosmosdb_sql_request('{COSMOS};{AUTH};User Id={A};','SELECT c.Id from c'):(Id:long)",  # noqa: S608
        f"evaluate cosmosdb_sql_request(\n  h'{COSMOS};{AUTH};user id = {A}',\n  'SELECT c.Id from c',\n  dynamic({{}}),\n  dynamic({{'preferredLocations':['East US']}})\n)",  # noqa: S608
        f"let i = '{A}'; evaluate cosmosdb_sql_request(strcat(h'{COSMOS};{AUTH};User Id=', i, ';'), 'q')",
        f"evaluate cosmosdb_sql_request(h@'{COSMOS};UID=\"{A}\";{AUTH}','q')",
    ),
    *one("cosmosdb_sql_request", "system", f"evaluate cosmosdb_sql_request('{COSMOS};{AUTH};','q')", named=MI),
    *one(
        "ai_embeddings", "system",
        f"evaluate ai_embeddings('text', '{AI};managed_identity=system')",
        f"let text = 'x;managed_identity={A}';\nlet c = '{AI};managed_identity=system';\nevaluate ai_embeddings(text, c)",
        f"T | evaluate ai_embeddings(Text, h@\"{AI};managed_identity=system\", dynamic({{'RecordsPerRequest':1}}), true)",
        f"T | evaluate ai_embeddings(Text, '{AI}' ';managed_identity=system')",
    ),
    *one(
        "ai_chat_completion", "system",
        f"evaluate ai_chat_completion(dynamic([{{'role':'user','content':'hi'}}]), '{AI};managed_identity=system')",
        f"let c = h'{AI};managed_identity=system';\nlet m = dynamic([{{'role':'user','content':'x;managed_identity={A}'}}]);\nevaluate ai_chat_completion(m, c)",
        f"T | evaluate ai_chat_completion(Chat, ```{AI};managed_identity=system```)",
        f"T | evaluate ai_chat_completion(pack_array(bag_pack('role', 'user', 'content', Text)), strcat('{AI}', ';', 'managed_identity=system'))",
    ),
    *one(
        "ai_chat_completion_prompt", "system",
        f"evaluate ai_chat_completion_prompt('hi', '{AI};managed_identity=system')",
        f"let connectionString = '{AI};managed_identity=system';\ndatatable(Prompt:string)[\n  \"What is 42?\"\n]\n| evaluate ai_chat_completion_prompt(Prompt, connectionString, dynamic({{}}), true)",
        f"T | evaluate ai_chat_completion_prompt(strcat('Say ', Text), @'{AI};managed_identity=system')",
        f"T | evaluate ai_chat_completion_prompt(Text, ('{AI};managed_identity=system'))",
    ),
    *one("ai_chat_completion_prompt", B, f"evaluate ai_chat_completion_prompt('hi', '{AI};managed_identity={B}')"),
]

NO_IDENTITY_TAKEN: list[Case] = [
    *one("http_request", "system", f"evaluate http_request('{SYS}')", f"let u = '{SYS}'; evaluate http_request(u, dynamic({{}}))"),
    *one("http_request_post", A, f"evaluate http_request_post('{OID}', dynamic({{}}), 'x;managed_identity=system')"),
    *one("infer_storage_schema_with_suggestions", "system", f"evaluate infer_storage_schema_with_suggestions(dynamic({{'StorageContainers':['{SYS}']}}))"),
    *one("mysql_request", "system", f"evaluate mysql_request('{SQL};{AUTH}', 'select 1')", named=MI),
    *one("postgresql_request", A, f"evaluate postgresql_request('{SQL};{AUTH};User Id={A}', 'select 1')"),
    *one("azure_digital_twins_query_request", "system", f"evaluate azure_digital_twins_query_request('{SYS}', 'q')"),
    *one("external_table.mysql", "system", f".create external table S (x:int) kind=sql table=T ('{SQL};{AUTH}') with (sqlDialect='MySQL')", named=MI),
    *one("external_table.postgresql", A, f".create external table S (x:int) kind=sql table=T ('{SQL};{AUTH};User Id={A}') with (sqlDialect='PostgreSQL')"),
    *one("export.to_sql", "system", f".export async to sql ['dbo.T'] h@'{SQL};{AUTH}' with (createifnotexists=true) <| T", named=MI),
]

UNKNOWN: list[Case] = [
    *one("unknown flow: new_plugin", "system", f"T | evaluate new_plugin(x, dynamic(['{SYS}']), 1)", f"evaluate hint.distribution=single new_plugin('{SYS}')"),
    *one("unknown flow: new_plugin", "system", f"evaluate new_plugin('{SQL};{AUTH}')", named=MI),
    *one("unknown flow: bag_unpack", "system", f"evaluate bag_unpack(dynamic({{'a':'{SYS}'}}))"),
    *one(
        "unknown flow: F", A,
        f"F('{OID}')", f"let u = '{OID}'; F(1, u) | count", f"T | invoke F(strcat('{URL}', ';managed_identity={A}'))",
        f"let X = F(h'{OID}'); X", f"T | join kind=inner hint.strategy=shuffle (F('{OID}')) on x", f"union T, F('{OID}')",
        f".set-or-append T <| F('{OID}')", f"toscalar(F('{OID}'))", f".create function G() {{ F('{OID}') }}",
    ),
    *one("unknown flow: new_operator", "system", f"new_operator(x:long)['{SYS}'] | count", f"T | union (new_operator (x:long) [ h'{SYS}' ])"),
    *one("unknown flow: .create table", "system", f".create table T based-on (x:int) kind=delta (h'{SYS}')"),
    *one("unknown flow: .alter table policy mirroring", A, f".alter table T policy mirroring dataformat=parquet (h'{URL}' h';managed_identity={A}') with (IsEnabled=true)"),
    *one("unknown flow: .alter cluster policy new", "system", ".alter cluster policy new '{\"A\":[{\"ManagedIdentity\":\"system\"}]}'", f'.alter cluster policy new ```{{"url": "{SYS}"}}```'),
    *one("unknown flow: .create new", "system", ".create new T with (managedIdentity=system)", ".create new T with (['Managed_Identity'] = 'system') <| T"),
    *one("unknown flow: .create-or-alter continuous-export", "system", ".create-or-alter continuous-export E to table X with (managed_identity='system') <| T"),
    *one("unknown flow: .ingest into", A, f".ingest into table T ['{OID}']"),
    (
        f".export to csv (h'{SYS}') with (other=h'{OID}') <| T",
        ("export.to_storage", "system", "system"), ("unknown flow: .export to", A, A),
    ),
]

CANNOT_TELL: list[Case] = [
    *one("externaldata", None, "declare query_parameters(URI:string);\nexternaldata(x:string)[URI]", named="URI"),
    *one("externaldata", None, f"declare query_parameters(c:string='{SYS}'); externaldata(x:string)[c]", named="c"),
    *one("externaldata", None, f"let c = '{SYS}'; let f = (c:string) {{ externaldata(x:string)[c] }}; f('{OID}')", named="c"),
    *one("externaldata", None, f".create function F(u:string='{SYS}') {{ externaldata(x:string)[u] }}", named="u"),
    *one("externaldata", None, f"externaldata(x:string)[strcat('{URL};', now())]", named="now()"),
    *one("externaldata", None, f"let i = toscalar(T | take 1); externaldata(x:string)[strcat('{URL};managed_identity=', i)]", named="toscalar(T | take 1)"),
    *one("externaldata", None, f"let f = () {{ let c = '{SYS}'; c }}; externaldata(x:string)[c]", named="c"),
    *one("externaldata", None, f"externaldata(x:string)[iff(true, '{SYS}', '{URL}')]", named=f"iff(true, '{SYS}', '{URL}')"),
    *one("externaldata", None, "externaldata(x:string)[h'*****']", named="*****"),
    *one("externaldata", None, f"externaldata(x:string)[h'{URL};*****']", named="*****"),
    *one("externaldata", None, f"externaldata(x:string)['{URL};managed_identity=***']", named="***"),
    *one("external_table.storage", None, f".create external table T (x:int) kind=storage dataformat=csv (h@'{URL};******')", named="******"),
    *one("export.to_storage", None, ".export to csv (url) <| T", named="url"),
    *one("infer_storage_schema", None, "evaluate infer_storage_schema(options)", named="options"),
    *one("infer_storage_schema", None, "evaluate infer_storage_schema(bag_pack('StorageContainers', urls))", named="urls"),
    *one("infer_storage_schema", None, "evaluate infer_storage_schema(bag_merge(a, b))", named="bag_merge(a, b)"),
    *one("python.external_artifacts", None, "T | evaluate python(typeof(*), 's', external_artifacts=bag_pack('a', Url))", named="Url"),
    *one("sql_request", None, "evaluate sql_request(c, 'q')", named="c"),
    *one("sql_request", None, f"evaluate sql_request(strcat('{SQL};{AUTH};', rest), 'q')", named="rest"),
    *one("sql_request", None, f"evaluate sql_request('{SQL};{AUTH};User Id=****', 'q')", named="****"),
    *one("ai_embeddings", None, "T | evaluate ai_embeddings(Text, Connection)", named="Connection"),
    *one("continuous_export", None, ".create-or-alter continuous-export E to table X with (managedIdentity='****') <| T", named="****"),
    *one("externaldata", None, f"externaldata(x:string)['{URL}/{'x' * 9000};managed_identity=system']", named=f"{URL}/{'x' * 9000};managed_identity=system"),
]

# Texts that use or name no identity: flows that pass it in another way, and traps.
NOTHING = [
    "",
    " \r\n\t",
    ".export to table T <| MyTable",
    f".export async to table ['T'] with (namePrefix='x;managed_identity={A}') <| T",
    ".export to table ['x;managed_identity=system'] <| T",
    "external_table('T') | count",
    SYS,
    "LightIngest ... -ingestmi:system",
    'LightIngest "https://ingest-c.kusto.windows.net" -source:"https://a/c" -ingestmi:' + A,
    '{"kind":"EventHub","properties":{"managedIdentityResourceId":"/subscriptions/s/resourceGroups/g"}}',
    '{"kind":"EventGrid","properties":{"managedIdentityResourceId":"/subscriptions/s"}}',
    '{"kind":"CosmosDb","properties":{"managedIdentityResourceId":"/subscriptions/s"}}',
    "print 'x;managed_identity=system'",
    f"T | where Text has ';managed_identity={A}' or Url == \"{SYS}\"",
    f"// externaldata(x:string)['{SYS}']",
    f"print 1 // externaldata(x:string)['{SYS}']\n| count",
    f"print \"externaldata(x:string)['{SYS}']\"",
    f"print ```\nexternaldata(x:string)['{SYS}']\n```",
    f"let c = '{SYS}'; print c",
    f"externaldata(x:string)['{URL};impersonate']",
    f"externaldata(x:string)[h'{URL}?sv=1&sig=x%3D', h'{URL};c2VjcmV0', h'{URL};token=abc', '{URL}']",
    f"externaldata(x:string)['{URL};managed-identity=system', '{URL};manage_identity=system']",
    f"externaldata(x:string)['{URL};managed_identity=', '{URL};managed_identity', '{URL}?managed_identity=system', '{URL}/managed_identity=system']",
    f"externaldata(x:string)[h'{URL};{AUTH}']",
    f"externaldata(x:string)['{SYS}",
    f"externaldata(x:string)[```{SYS}``",
    f"externaldata(x:string)['\\q{SYS}']",
    f"externaldata(['{SYS}'])",
    f".create table externaldata (x:string) with (docstring='{SYS}')",
    f".create table T (x:string) with (['docstring'] = @'see ' '{SYS}', folder=\"{SYS}\")",
    f".alter cluster policy new '{{\"docstring\":\"{SYS}\",\"Other\":\"system\"}}'",
    f"T | where f('{SYS}') and x has_any ('{SYS}')",
    f"datatable(x:string)['{SYS}']",
    f"let f = (u:string) {{ print u }}; f('{SYS}')",
    "evaluate new_plugin(c, 'x;managed_identity=system')",
    f"evaluate sql_request('{SYS}', 'select 1')",
    f"evaluate sql_request('{SQL};Authentication=\"Active Directory Integrated\"', 'x')",
    f"evaluate sql_request('{SQL};User Id={A};Password=p', 'x')",
    f"evaluate sql_request('{SQL};Password=\";Authentication={MI};\"', 'x')",
    f"evaluate mysql_request(c, 'select 1'), http_request('{URL}')",
    "evaluate http_request(strcat('https://a/', x))",
    f"T | evaluate python(typeof(*), '{SYS}', bag_pack('a.zip', '{SYS}'))",
    "T | evaluate python(typeof(*), 's', dynamic({}), dynamic({}), true)",
    f"T | extend python = '{SYS}' | project sql_request",
    f"evaluate infer_storage_schema(dynamic({{'StorageContainers':['{URL};impersonate'],'FileNamePrefix':'{SYS}'}}))",
    ".show table T policy update",
    ".create new T with (managedIdentity='', managed_identity='' '')",
    ".export to csv ('' '') with (managedIdentity='') <| T",
    ".show cluster policy managed_identity",
    ".alter cluster policy managed_identity '[{\"ObjectId\":\"system\",\"AllowedUsages\":\"All\"}]'",
    ".alter table T policy update '[{\"ManagedIdentity\":null}]'",
    ".alter table T policy update '[{\"Managed_Identity\":\"system\",\"Source\":\"ManagedIdentity\"}]'",
    f".alter table T policy update @'[{{\"Source\":\"{SYS}\",\"Query\":\"print ''{SYS}''\"}}]'",
    ".alter external table D policy query_acceleration '{\"IsEnabled\":true}'",
    ".alter table T policy caching hot = 5d",
    ".create-or-alter continuous-export E to table X with (intervalBetweenRuns=5m) <| print managedIdentity='system'",
    f".alter external table T docstring '{SYS}'",
    f".create external table T (x:int) kind=storage dataformat=csv (h@'{URL};impersonate') with (docstring='{SYS}')",
    f".ingest inline into table T <| externaldata(x:string)['{SYS}']",
    f".ingest into table ['x;managed_identity=system'] ('{URL}?sv=1')",
    f".show queries | where Text has '{SYS}'",
    f". - , .. ({{[ ]) let let = ; evaluate evaluate python( '{SYS}'",
]

SEVERAL: list[Case] = [
    (
        f"let c = '{SYS}'; union (externaldata(x:string)[c]), (externaldata(x:string)[c]), (externaldata(x:string)['{SYS}', '{OID}'])",
        ("externaldata", "system", "system"), ("externaldata", "system", "system"), ("externaldata", A, A),
    ),
    (
        f"let c = '{SYS}'; externaldata(x:string)[c] | evaluate ai_embeddings(x, c)",
        ("ai_embeddings", "system", "system"), ("externaldata", "system", "system"),
    ),
    (
        f"externaldata(x:string)['{URL};managed_identity=system;managed_identity={A}']",
        ("externaldata", "system", "system"), ("externaldata", A, A),
    ),
    (
        f".execute database script <|\n.create external table D kind=delta (h'{SYS}')\n\n.create function F() {{ externaldata(x:int)['{OID}'] }}\n.create-or-alter continuous-export E to table D with (managedIdentity='system') <| T",
        ("external_table.delta", "system", "system"), ("externaldata", A, A), ("continuous_export", "system", "system"),
    ),
    (
        f".execute script <| .list blobs ('{SYS}')\r\n.export to csv (h'{OID}') <| T\r\n",
        ("list_blobs", "system", "system"), ("export.to_storage", A, A),
    ),
]
# fmt: on

CORPUS: list[Case] = [
    *EXTERNAL_TABLES,
    *AUTOMATED,
    *MOVED,
    *TABLES,
    *PLUGINS,
    *NO_IDENTITY_TAKEN,
    *UNKNOWN,
    *CANNOT_TELL,
    *SEVERAL,
    *((text,) for text in NOTHING),
]
TEXTS = [case[0] for case in CORPUS]
# Texts that close everything they open can be nested in other texts.
WHOLE = [
    text
    for text in TEXTS
    if not any(token.text in "'\"`" for token in tokens(text))
    and all(text.count(opener) == text.count(closer) for opener, closer in ("()", "[]", "{}"))
]
QUERIES = [text for text in WHOLE if Statement(text).kind == "query"]
NOT_IN_TEXT = {"export.to_external_table", "ingest.sdk_queued", "ingest.lightingest"} | {
    row.id for row in WORKFLOWS if row.id.startswith("dataconnection.")
}


def seen(text: str) -> list[Expected]:
    return [(found.flow, found.identity, text[found.start : found.end]) for found in Statement(text).references]


def without_places(text: str) -> Counter[tuple[str, str | None, str]]:
    return Counter((found.flow, found.identity, found.target) for found in Statement(text).references)


@pytest.mark.parametrize(("text", "expected"), [(text, expected) for text, *expected in CORPUS])
def test_each_text_uses_exactly_the_identities_that_it_was_written_with(text: str, expected: list[Expected]) -> None:
    assert seen(text) == expected


def test_the_corpus_has_each_flow_in_four_spellings_and_only_flows_that_occur_in_text() -> None:
    spellings = Counter(flow for _, *expected in CORPUS for flow in {flow for flow, _, _ in expected})
    assert len(set(TEXTS)) == len(TEXTS) >= 150
    assert {row.id: spellings[row.id] for row in WORKFLOWS if spellings[row.id] < 4}.keys() == NOT_IN_TEXT
    assert sum(spellings[flow] for flow in NOT_IN_TEXT) == 0


@pytest.mark.parametrize("row", WORKFLOWS, ids=lambda row: row.id)
def test_the_example_of_each_workflow_uses_an_identity_for_that_workflow(row: Workflow) -> None:
    found = [reference.workflow for reference in Statement(row.example).references]
    assert found == ([] if row.id in NOT_IN_TEXT else [row])


def test_a_flow_outside_the_catalogue_has_a_name_and_no_workflow() -> None:
    for text, *_ in (*NO_IDENTITY_TAKEN, *UNKNOWN[:-1]):
        assert [found.workflow for found in Statement(text).references] == [None]
    assert Statement(f"evaluate http_request('{SYS}')").references == (
        Reference(None, "http_request", "system", 77, 83, target=URL),
    )


@pytest.mark.parametrize(
    ("text", "target"),
    [
        (f"externaldata(x:int)['{URL}/f.csv?sv=1&sig=secret;managed_identity=system']", f"{URL}/f.csv"),
        ("externaldata(x:int)['https://user:secret@host/f;managed_identity=system']", "https://host/f"),
        (
            "externaldata(x:int)['abfss://fs@acct.dfs.core.windows.net/t;managed_identity=system']",
            "abfss://fs@acct.dfs.core.windows.net/t",
        ),
        (f"externaldata(x:int)[strcat('{URL}/', now(), ';managed_identity=system')]", ""),
        (f"externaldata(x:int)[strcat('{URL}/f;', now())]", f"{URL}/f"),
        (f"evaluate sql_request('{SQL};{AUTH};Password=secret', 'q')", "tcp:s.database.windows.net,1433"),
        (
            f"evaluate cosmosdb_sql_request('{COSMOS};AccountKey=secret;{AUTH}', 'q')",
            "https://a.documents.azure.com:443/",
        ),
        (f"evaluate ai_embeddings('x', '{AI};managed_identity=system')", AI.partition("?")[0]),
        (".create-or-alter continuous-export E to table X with (managedIdentity='system') <| T", ""),
    ],
)
def test_the_target_is_the_url_or_server_without_credentials(text: str, target: str) -> None:
    assert [found.target for found in Statement(text).references] == [target]


@pytest.mark.parametrize(
    ("text", "database"),
    [
        ('.alter table T policy update \'[{"ManagedIdentity":"system"}]\'', ""),
        ('.alter table Db.T policy update \'[{"ManagedIdentity":"system"}]\'', "Db"),
        (".alter table ['my Db'].['T'] policy update '[{\"ManagedIdentity\":\"system\"}]'", "my Db"),
        (f".alter table Db.T policy update @'[{{\"Query\":\"externaldata(x:int)[''{SYS}'']\"}}]'", "Db"),
        (f".ingest-from-storage-queued into table database('Db').T <| .list blobs ('{SYS}')", "Db"),
        (f".ingest-from-storage-queued into table database(['my Db']).T <| .list blobs ('{SYS}')", "my Db"),
        (f".ingest-from-storage-queued into table T <| .list blobs ('{SYS}')", ""),
        (f"database('Db').T | union (externaldata(x:int)['{SYS}'])", ""),
    ],
)
def test_the_database_is_the_one_that_the_text_names_for_the_flow(text: str, database: str) -> None:
    assert [found.database for found in Statement(text).references] == [database]


@given(st.text(st.characters(exclude_categories=[])))
def test_no_text_raises(text: str) -> None:
    list(Statement(text).references)


FRAGMENTS = sorted(
    {token.text for text in TEXTS for token in tokens(text)} | {"'", '"', "h@'", "```", "\\", "\r\n", "//"}
)
SHUFFLED = st.lists(st.sampled_from(FRAGMENTS), max_size=40).map(" ".join)
CUT = st.builds(lambda text, place: text[: place % (len(text) + 1)], st.sampled_from(TEXTS), st.integers(0))
SPLICED = st.builds(lambda a, b, glue: a + glue + b, CUT, CUT, st.sampled_from(["", "\n", "'", "```", ")"]))


@given(SHUFFLED | SPLICED)
def test_every_place_lies_in_the_text_and_every_named_identity_in_one_literal(text: str) -> None:
    literals = [token for token in tokens(text) if token.kind == "literal"]
    for found in Statement(text).references:
        assert 0 <= found.start < found.end <= len(text)
        inside = any(token.start < found.start and found.end < token.end for token in literals)
        # The value of a property may be a bare word.
        assert inside or found.identity is None or found.flow.startswith(("continuous_export", UNKNOWN_FLOW))


def apart(before: Token, after: Token) -> bool:
    """Check whether a comment may be between two tokens, which the service does not read as one token."""
    return before.end < after.start or bool({before.kind, after.kind} == {"mark", "literal"} or before.text in "([{,;")


@given(
    st.sampled_from(TEXTS), st.integers(0), st.sampled_from(["//\n", "// it's ```\r\n", "  // ;managed_identity=x\n"])
)
def test_a_comment_between_tokens_changes_nothing_but_places(text: str, choice: int, comment: str) -> None:
    found = list(tokens(text))
    gaps = [after.start for before, after in pairwise(found) if apart(before, after)]
    place = [0, *gaps][choice % (len(gaps) + 1)]
    moved = [
        (
            one.flow,
            one.identity,
            one.start + len(comment) * (one.start >= place),
            one.end + len(comment) * (one.end > place),
        )
        for one in Statement(text).references
    ]
    assert [
        (one.flow, one.identity, one.start, one.end)
        for one in Statement(text[:place] + comment + text[place:]).references
    ] == moved


@pytest.mark.parametrize("text", TEXTS)
def test_windows_line_breaks_change_nothing(text: str) -> None:
    assert without_places(text.replace("\r\n", "\n").replace("\n", "\r\n")) == without_places(text)


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_uses_the_same_in_a_function_an_export_and_an_update_policy(query: str) -> None:
    expected = without_places(query)
    body = query.rstrip() + "\n"
    assert without_places(f".create-or-alter function F() {{\n{body}}}") == expected
    assert without_places(f".export async to table X <| {body}") == expected
    payload = quoting.literal(json.dumps([{"IsEnabled": True, "Query": body}]))
    assert without_places(f".alter table T policy update {payload}") == expected
    for found in Statement(f".alter table T policy update {payload}").references:
        assert found.start > len(".alter table T policy update ")


@pytest.mark.parametrize(
    "piece",
    [
        "\\'", "'\"", "``` ~~~ ", "h```~~~`", "@'", "(", "{", "([)]", "strcat(", "evaluate r(a, ", "let a={", ". create ",
        "externaldata(x)[", "inline_external_table kind=storage ", "evaluate a.b=c.d ", "let b=strcat(b,b);",
        "let b=bag_pack('a',b,'c',b);", f"externaldata(x:int)['{SYS}'];", "externaldata(x:int)[b];", f".list blobs ('{SYS}')\n",
    ],
)  # fmt: skip
def test_a_long_text_is_read_in_linear_time(piece: str) -> None:
    def reading(size: int) -> Callable[[], object]:
        text = f"let b='{URL};managed_identity=system';" + piece * (size // len(piece))
        return lambda: Statement(text).references

    assert grows_no_faster_than_its_input(reading, 4_000)


def test_a_large_constant_is_read_once_however_often_it_is_used() -> None:
    def reading(size: int) -> Callable[[], object]:
        bag = ",".join([f"h'{SYS}'"] * size)
        text = f"let o=dynamic({{'StorageContainers':[{bag}]}});" + "evaluate infer_storage_schema(o);" * (5 * size)
        assert len(Statement(text).references) == size
        return lambda: Statement(text).references

    assert grows_no_faster_than_its_input(reading, 100)


def test_adjacent_literals_of_a_command_are_one_connection_string() -> None:
    text = f".export async to csv (h'https://acct.blob.core.windows.net/data;managed_' 'identity={A}', h'{URL};impersonate') <| T"
    (found,) = Statement(text).references
    assert (found.flow, found.identity) == ("export.to_storage", A)
