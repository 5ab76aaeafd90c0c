"""Response bodies as the service writes them: v1, v2 and errors."""

import json
import math
from collections.abc import Callable
from typing import Any

from kqlmi.local.values import kusto_time
from kqlmi.local.values.faults import KustoError, bad_request
from kqlmi.local.values.tables import Column, Table, columns

Encoders = dict[str, Callable[[Any], Any]]

_NET_TYPES = {
    "bool": "SByte",
    "int": "Int32",
    "long": "Int64",
    "real": "Double",
    "decimal": "SqlDecimal",
    "string": "String",
    "datetime": "DateTime",
    "timespan": "TimeSpan",
    "guid": "Guid",
    "dynamic": "Object",
}
_PROPERTIES = columns("TableId: int, Key: string, Value: dynamic")
_CONTENTS = columns("Ordinal: long, Kind: string, Name: string, Id: string, PrettyName: string")
_COMPLETION = columns(
    "Timestamp: datetime, ClientRequestId: string, ActivityId: guid, SubActivityId: guid, ParentActivityId: guid, "
    "Level: int, LevelName: string, StatusCode: int, StatusCodeName: string, EventType: int, EventTypeName: string, "
    "Payload: string"
)


def v1(*results: Table) -> str:
    """Return results as a v1 response; if there are several, the last table describes the others."""
    contents = ((n, "QueryResult", "PrimaryResult", str(n), "") for n in range(len(results)))
    tables = (*results, Table(_CONTENTS, tuple(contents))) if len(results) > 1 else results
    shown = [
        {"TableName": f"Table_{number}", "Columns": [_typed(one) for one in table.columns], "Rows": _rows(table, _V1)}
        for number, table in enumerate(tables)
    ]
    return json.dumps({"Tables": shown})


def v2(*results: Table, client_request_id: str, activity_id: str) -> str:
    """Return results as a v2 response: properties, rows and completion information."""
    shown = (json.dumps({"Visualization": table.visualization or None}) for table in results)
    rows = ((number, "Visualization", json.dumps(value)) for number, value in enumerate(shown, 1))
    properties = Table(_PROPERTIES, tuple(rows))
    ended = (
        kusto_time.now(),
        client_request_id,
        *(activity_id,) * 3,
        *(4, "Info", 0, "S_OK (0)", 4, "QueryInfo"),
        json.dumps({"Count": 1, "Text": "Query completed successfully"}),
    )
    frames = [
        {"FrameType": "DataSetHeader", "IsProgressive": False, "Version": "v2.0"},
        _frame(0, "QueryProperties", "@ExtendedProperties", properties),
        *(_frame(n, "PrimaryResult", "PrimaryResult", table) for n, table in enumerate(results, 1)),
        _frame(
            len(results) + 1, "QueryCompletionInformation", "QueryCompletionInformation", Table(_COMPLETION, (ended,))
        ),
        {"FrameType": "DataSetCompletion", "HasErrors": False, "Cancelled": False},
    ]
    return json.dumps(frames)


def error(fault: KustoError, *, client_request_id: str, activity_id: str, service: str) -> str:
    """Return the response for an error."""
    context = {
        "timestamp": kusto_time.format_datetime(kusto_time.now()),
        "serviceAlias": service,
        "machineName": "localhost",
        "processName": "kqlmi",
        "processId": 0,
        "threadId": 0,
        "clientRequestId": client_request_id,
        "activityId": activity_id,
        "subActivityId": activity_id,
        "activityType": "GW.Http.CallContext",
        "parentActivityId": activity_id,
        "activityStack": f"(Activity stack: CRID={client_request_id} ARID={activity_id})",
    }
    body: dict[str, Any] = {
        "code": fault.code,
        "message": fault.message,
        "@type": fault.type_name,
        "@message": fault.detail,
        "@context": context,
        "@permanent": fault.permanent,
    }
    if fault.inner:
        body["innererror"] = {
            "code": fault.inner.code,
            "message": fault.inner.message,
            "@type": fault.inner.type_name,
            "@message": fault.inner.message,
            "@errorCode": fault.inner.code,
            **({"@details": dict(fault.inner.details)} if fault.inner.details else {}),
        }
    return json.dumps({"error": body})


def _frame(number: int, kind: str, name: str, table: Table) -> dict[str, Any]:
    # Streaming clients need the columns before the rows.
    return {
        "FrameType": "DataTable",
        "TableId": number,
        "TableKind": kind,
        "TableName": name,
        "Columns": [_column(column) for column in table.columns],
        "Rows": _rows(table, _V2),
    }


def _typed(column: Column) -> dict[str, str]:
    return {"ColumnName": column.name, "DataType": _NET_TYPES[column.type], "ColumnType": column.type}


def _column(column: Column) -> dict[str, str]:
    return {"ColumnName": column.name, "ColumnType": column.type}


def _rows(table: Table, encoders: Encoders) -> list[list[Any]]:
    encode = [encoders.get(column.type) for column in table.columns]
    return [
        [value if value is None or write is None else write(value) for write, value in zip(encode, row, strict=True)]
        for row in table.rows
    ]


def _real(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _dynamic(text: str) -> Any:
    """Return a dynamic value as JSON, or as a string if JSON cannot represent it, as the service does."""
    try:
        return json.loads(text, parse_constant=str, parse_float=_finite)
    except json.JSONDecodeError:
        return text
    except (ValueError, RecursionError) as error:
        raise bad_request(f"a dynamic value cannot be written as JSON: {error}") from error


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(f"the number {text} is out of range")
    return float(text)


# Values of other types are already JSON.
_SHARED: Encoders = {
    "real": _real,
    "decimal": str,
    "datetime": kusto_time.format_datetime,
    "timespan": kusto_time.format_timespan,
}
_V1: Encoders = {**_SHARED, "bool": int}
_V2: Encoders = {**_SHARED, "bool": bool, "dynamic": _dynamic}
