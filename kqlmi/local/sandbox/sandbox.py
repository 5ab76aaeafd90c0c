"""Scripts of the ``python`` plugin, each run over a table in its own process."""

import contextlib
import importlib.util
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from decimal import Context, Decimal
from functools import partial
from pathlib import Path
from typing import Any

from kqlmi.local.language.literals import DECIMAL_DIGITS, INT_RANGE, LONG_RANGE
from kqlmi.local.state.activity import Run
from kqlmi.local.values import kusto_time, lenient_json
from kqlmi.local.values.faults import bad_request
from kqlmi.local.values.tables import Column, Table

SCRIPT_SECONDS = 60.0
CPU_SECONDS = 120
MEMORY_BYTES = 4 * 2**30
FILE_BYTES = 256 * 2**20
RESULT_BYTES = 64 * 2**20
CHILD = Path(__file__).with_name("sandbox_child.py")

_POLL_SECONDS = 0.01
_CLEANUP_SECONDS = 5.0
_SHOWN = 80
_ATTOSECONDS_A_TICK = 10**11
_DATETIMES = range(3_652_059 * kusto_time.DAY)  # the years 1 to 9999
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_WITHOUT_AND_WITH_NULLS = {"bool": ("bool", "boolean"), "int": ("int32", "Int32"), "long": ("int64", "Int64")}


def run_script(
    script: str,
    table: Table,
    parameters: Mapping[str, Any],
    output: tuple[Column, ...],
    artifacts: Mapping[str, bytes],
    *,
    run: Run,
    seconds: float,
) -> Table:
    """Run a script over a table in its own process, and return its ``result``.

    The columns of the result are those of ``output``, matched by position. Afterwards, the process and everything that it
    started have ended, and its folder is removed. The limits prevent accidents; they are not a security boundary, because
    the script is the user's own.
    """
    request = {
        "script": script,
        "columns": [
            (column.name, *_to_pandas(column.type, [row[index] for row in table]))
            for index, column in enumerate(table.columns)
        ],
        "kargs": lenient_json.dumps(dict(parameters)),
        "limits": {"memory": MEMORY_BYTES, "cpu": CPU_SECONDS, "file": FILE_BYTES, "result": RESULT_BYTES},
        "packages": _package_folders(),
        "paths": [sys.prefix, sys.base_prefix, str(CHILD.parent)],
    }
    with tempfile.TemporaryDirectory(prefix="kqlmi-python-", ignore_cleanup_errors=True) as folder:
        root = Path(folder).resolve()
        (root / "work" / "Temp").mkdir(parents=True)
        _write_artifacts(root / "work", artifacts)
        (root / "request.json").write_text(json.dumps(request, default=str), encoding="ascii")
        code = _execute(root / "work", run, seconds)
        return _read_answer(root / "answer.json", code, output)


def _package_folders() -> list[str]:
    specs = (importlib.util.find_spec(name) for name in ("numpy", "pandas"))
    return [str(Path(spec.origin).parents[1]) for spec in specs if spec and spec.origin]


def _write_artifacts(work: Path, artifacts: Mapping[str, bytes]) -> None:
    if os.name == "posix":  # Kusto's sandbox runs on Windows, and its documentation writes paths in this way
        (work / r".\Temp").symlink_to(work / "Temp", target_is_directory=True)
    for name, content in artifacts.items():
        if name in {"", ".", ".."} or re.search(r'[/\\:*?"<>|\x00-\x1f]', name):
            raise bad_request(f"the artifact name {name!r} is not a valid file name")
        try:
            (work / "Temp" / name).write_bytes(content)
            if os.name == "posix":
                (work / rf".\Temp\{name}").symlink_to(work / "Temp" / name)
        except OSError as error:
            raise bad_request(f"cannot write the artifact {name!r}: {error.strerror}") from error


def _environment(work: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    folders = dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP"), str(work))
    fixed = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "LANG": "C.UTF-8", "TZ": "UTC"}
    return kept | folders | fixed


def _execute(work: Path, run: Run, seconds: float) -> int:
    """Run the process in its folder until it ends or is stopped, and return its exit code."""
    stop = threading.Event()
    with run.watch(seconds, stop.set):
        process = subprocess.Popen(  # noqa: S603 - the program is part of this package
            [sys.executable, "-I", str(CHILD)],
            cwd=work,
            env=_environment(work),
            stdin=subprocess.PIPE,  # it closes when the cluster ends, and then the process ends too
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + SCRIPT_SECONDS
            while process.poll() is None and not stop.is_set() and time.monotonic() < deadline:
                stop.wait(_POLL_SECONDS)
            code = process.returncode
        finally:
            _end(process, work)
    if code is None:
        raise bad_request(f"the python script was stopped after {SCRIPT_SECONDS:g} seconds")
    return code


def _end(process: subprocess.Popen[bytes], work: Path) -> None:
    """Kill the process, its group, and processes that left the group, which are recognised by their ``HOME``."""
    process.kill()
    with contextlib.suppress(ProcessLookupError, PermissionError, AttributeError):  # Windows has no groups
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + _CLEANUP_SECONDS
    while (left := _at_home(work)) and time.monotonic() < deadline:
        for identifier in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(identifier, signal.SIGKILL)


def _at_home(work: Path) -> list[int]:
    mark = os.fsencode(f"HOME={work}")
    found = []
    for process in Path("/proc").glob("[0-9]*"):  # Linux
        with contextlib.suppress(OSError):
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


def _to_pandas(kind: str, values: list[Any]) -> tuple[str, list[Any]]:
    """Return the dtype of a column, nullable if there are nulls, and its values for JSON."""
    if kind in _WITHOUT_AND_WITH_NULLS:
        return _WITHOUT_AND_WITH_NULLS[kind][None in values], values
    if kind == "datetime":
        return _to_clock("datetime64", [None if value is None else value - kusto_time.EPOCH for value in values])
    if kind == "timespan":
        return _to_clock("timedelta64", values)
    null = {"real": math.nan, "string": ""}.get(kind)
    dtype = {"real": "float64", "string": "str", "guid": "str"}.get(kind, kind)
    return dtype, [null if value is None else value for value in values]


def _to_clock(kind: str, values: list[int | None]) -> tuple[str, list[int]]:
    """Return the values in nanoseconds if all are in range, else in microseconds if exact, else in units of 100 ns."""
    known = [value for value in values if value is not None]
    null = kusto_time.MIN_TIMESPAN  # numpy reads this number as null
    if null in known:
        raise bad_request(f"python cannot represent the timespan {kusto_time.format_timespan(null)}")
    if all(value * 100 in LONG_RANGE for value in known):
        return f"{kind}[ns]", [null if value is None else value * 100 for value in values]
    if all(value % 10 == 0 for value in known):
        return f"{kind}[us]", [null if value is None else value // 10 for value in values]
    return f"{kind}[100ns]", [null if value is None else value for value in values]


def _read_answer(path: Path, code: int, output: tuple[Column, ...]) -> Table:
    ended = f"signal {-code}" if code < 0 else f"exit code {code}"
    no_result = bad_request(f"the python script ended its process ({ended}) before it returned a result")
    if code:
        raise no_result
    try:
        answer = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        raise no_result from None
    if "failure" in answer:
        raise bad_request(f"the python script failed: {answer['failure']}")
    names = answer["names"]
    if len(names) != len(output):
        declared = ", ".join(f"{column.name}: {column.type}" for column in output)
        raise bad_request(
            f"the python script's result has {len(names)} columns ({', '.join(names)[:_SHOWN]}), but {len(output)} are "
            f"declared ({declared})"
        )
    columns = [[_fit(to, value) for value in values] for to, values in zip(output, answer["columns"], strict=True)]
    return Table(output, tuple(zip(*columns, strict=True)))


def _fit(column: Column, value: Any) -> Any:
    """Convert a value to the declared type; refuse one that the conversion would change."""
    kind, content = _untag(value)
    if kind == "null":
        return "" if column.type == "string" else None
    try:
        if column.type == "dynamic":
            return lenient_json.dumps(_plain(value))
        kinds, convert = _CONVERTERS[column.type]
        return (convert if kind in kinds else _refuse)(content)
    except (ValueError, OverflowError) as error:
        name, shown = content if kind == "other" else (kind, str(content) if kind in _TAGS else repr(value))
        why = f": {error}" if str(error) else ""
        raise bad_request(
            f"the python script's result does not fit: column '{column.name}' is declared {column.type}, "
            f"but has the value {shown[:_SHOWN]} ({name}){why}"
        ) from None


def _refuse(_: Any) -> Any:
    raise ValueError


def _untag(value: Any) -> tuple[str, Any]:
    if value is None:
        return "null", None
    kind, content = next(iter(value.items())) if isinstance(value, dict) else (type(value).__name__, value)
    return ("null", None) if content is None else (kind, content)


def _plain(value: Any) -> Any:
    """Return a value as plain JSON."""
    kind, content = _untag(value)
    if kind == "list":
        return [_plain(item) for item in content]
    if kind == "dict":
        return {_text(name): _plain(item) for name, item in content}
    if kind in _TAGS - {"decimal"}:
        raise ValueError(f"JSON has no type for {content[0] if kind == 'other' else kind}")
    return Decimal(content) if kind == "decimal" else _text(content) if kind == "str" else content


def _integer(allowed: range, value: float) -> int:
    # pandas may have rounded another whole number to a greater float.
    if isinstance(value, float) and not (value.is_integer() and abs(value) <= 2**53):
        raise ValueError("not an exact whole number")
    if int(value) not in allowed:
        raise ValueError("out of range")
    return int(value)


def _real(value: float) -> float:
    if float(value) != value:
        raise ValueError("not exactly representable as real")
    return float(value)


def _decimal(value: str | int) -> Decimal:
    if Context(prec=DECIMAL_DIGITS, traps=[]).create_decimal(value) != Decimal(value):
        raise ValueError(f"more than {DECIMAL_DIGITS} digits")
    return Decimal(value)


def _text(value: str | int) -> str:
    text = str(value)
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("an unpaired surrogate")
    return text


def _guid(text: str) -> str:
    if not _GUID.fullmatch(text):
        raise ValueError("not a guid")
    return text.lower()


def _ticks(allowed: range, attoseconds: int) -> int:
    value, rest = divmod(attoseconds, _ATTOSECONDS_A_TICK)
    if rest or value not in allowed:
        raise ValueError("finer than 100 ns" if rest else "out of range")
    return value


_TAGS = {"decimal", "guid", "datetime", "timespan", "list", "dict", "other"}
_CONVERTERS: dict[str, tuple[set[str], Callable[[Any], Any]]] = {
    "bool": ({"bool"}, bool),
    "int": ({"int", "float"}, partial(_integer, INT_RANGE)),
    "long": ({"int", "float"}, partial(_integer, LONG_RANGE)),
    "real": ({"float", "int"}, _real),
    "decimal": ({"decimal", "int"}, _decimal),
    "string": ({"str", "int"}, _text),  # an example in the plugin's documentation returns a number
    "guid": ({"guid", "str"}, _guid),
    "datetime": ({"datetime"}, partial(_ticks, _DATETIMES)),
    "timespan": ({"timespan"}, partial(_ticks, LONG_RANGE)),
}
"""For each declared type, the kinds of values that fit it, and their conversion."""
