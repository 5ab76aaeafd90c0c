import datetime as dt
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kqlmi.local.sandbox import sandbox, sandbox_child
from kqlmi.local.state.activity import Run
from kqlmi.local.values import kusto_time
from kqlmi.local.values.faults import KustoError
from kqlmi.local.values.principals import Principal
from kqlmi.local.values.tables import Column, Table, columns
from tests.waiting import eventually

LAST = kusto_time.parse_datetime("9999-12-31T23:59:59.9999999Z")
NOON = kusto_time.parse_datetime("2024-02-29T12:00:00.1234567Z")
GUID = "0a0b0c0d-0000-4000-8000-0123456789ab"
LONGEST = 2**63 - 1
EMPTY = Table((), ())

on_linux = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="the test looks for processes in /proc")


def new_run() -> Run:
    return Run(is_query=True, text="", principal=Principal("aadapp", GUID, "someone"))


def run_script(
    script: str,
    table: Table = EMPTY,
    output: str | tuple[Column, ...] = "x: long",
    *,
    parameters: Mapping[str, Any] | None = None,
    artifacts: Mapping[str, bytes] | None = None,
    run: Run | None = None,
    seconds: float = 100,
) -> list[tuple[Any, ...]]:
    declared = columns(output) if isinstance(output, str) else output
    given = sandbox.run_script(
        script, table, parameters or {}, declared, artifacts or {}, run=run or new_run(), seconds=seconds
    )
    assert given.columns == declared
    return list(given)


def refusal(script: str, **options: Any) -> str:
    with pytest.raises(KustoError) as caught:
        run_script(script, **options)
    assert caught.value.status == 400
    return caught.value.detail.removeprefix("Request is invalid and cannot be executed: the python script")


def refusals(start: str, attempts: Iterable[str], artifacts: Mapping[str, bytes] | None = None) -> dict[str, str]:
    """Return the error of each of these attempts by a script, in one process."""
    script = (
        f"{start}\nsaid = {{}}\nfor attempt in kargs['attempts']:\n    try:\n        exec(attempt)\n"
        "    except (OSError, ValueError) as error:\n        said[attempt] = str(error)\n"
        "result = pd.DataFrame(list(said.items()))"
    )
    parameters = {"attempts": list(attempts)}
    return dict(run_script(script, output="attempt: string, said: string", parameters=parameters, artifacts=artifacts))


def result(*expressions: str) -> str:
    named = ", ".join(f"'c{index}': [{expression}]" for index, expression in enumerate(expressions))
    return f"import datetime, decimal, uuid\nresult = pd.DataFrame({{{named}}}, dtype=object)"


def zipped(files: Mapping[str, str | bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


def processes(place: Path) -> set[str]:
    """Return the processes whose home is in a folder, and the children of this process, including zombies."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = (process / "stat").read_bytes().rpartition(b")")[2].split()[1]
            environ = (process / "environ").read_bytes()
        except OSError:
            continue
        if int(parent) == os.getpid() or b"HOME=%b" % bytes(place) in environ:
            found.add(process.name)
    return found


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder; checks after each test that no file, process or zombie is left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    before = processes(folder)
    yield folder
    assert list(folder.iterdir()) == []
    assert processes(folder) - before == set()


VALUES: dict[str, list[list[Any]]] = {
    "bool": [[True, False], [True, None]],
    "int": [[-(2**31), 2**31 - 1], [2**31 - 1, None]],
    "long": [[-(2**63), LONGEST], [LONGEST, None, 2**53 + 1]],
    "real": [[0.1, -0.0, 5e-324, 1.7976931348623157e308, float("inf"), float("-inf")], [0.5, None]],
    "decimal": [[Decimal("0.1"), Decimal(-1234567890123456789012345678901234), Decimal("1E-30"), None]],
    "string": [["", "a", "é\U0001f600\0\n\u2028'\"\\", "null", "NaN"], []],
    "guid": [[GUID], [None, GUID]],
    "datetime": [
        [NOON, kusto_time.EPOCH],
        [NOON, None],
        [0, NOON // 10 * 10 if NOON else 0, None],
        [LAST, 0, 1, None],
        [LAST],
        [None],
    ],
    "timespan": [
        [0, 1, -1, kusto_time.DAY],
        [1, None],
        [2**63 - 8, -(2**63) + 8, None],
        [kusto_time.MAX_TIMESPAN, kusto_time.MIN_TIMESPAN + 1, None],
    ],
    "dynamic": [
        ['{"a":[1,2.5,null,true,"é"],"b":{}}', "[]", "[[1],[2]]", '"text"', "null", "12345678901234567890", None],
        ["0.12345678901234567890123", "1e+300", "[1,2]", "[3,4]"],
    ],
}


def test_every_value_of_every_type_is_returned_unchanged() -> None:
    cases = [(kind, values) for kind, lists in VALUES.items() for values in lists]
    height = max(len(values) for _, values in cases)
    declared = tuple(Column(f"c{index}", kind) for index, (kind, _) in enumerate(cases))
    nulls = {"string": ""}
    for with_nulls in (False, True):
        # A short column is filled with its first value, or with nulls, so that both of its dtypes are covered.
        shown = [(held + [None if with_nulls or not held else held[0]] * height)[:height] for _, held in cases]
        rows = tuple(zip(*shown, strict=True))
        expected = [
            tuple(
                nulls.get(to.type) if value is None or (to.type, value) == ("dynamic", "null") else value
                for to, value in zip(declared, row, strict=True)
            )
            for row in rows
        ]
        given = run_script("result = df", Table(declared, rows), declared)
        assert given == expected
        assert [[type(value) for value in row] for row in given] == [[type(value) for value in row] for row in expected]


def test_a_column_has_the_dtype_of_its_type_or_another_if_some_values_do_not_fit() -> None:
    schema = "b: bool, i: int, l: long, r: real, d: datetime, t: timespan, s: string, g: guid, j: dynamic, m: decimal"
    names = ", ".join(f"{column.name}: string" for column in columns(schema))
    script = "result = pd.DataFrame([[str(dtype) for dtype in df.dtypes]])"
    full = (True, 1, 2, 0.5, NOON, 1, "a", GUID, "{}", Decimal(1))
    plain = ("bool", "int32", "int64", "float64", "datetime64[ns]", "timedelta64[ns]", *["object"] * 4)
    assert run_script(script, Table(columns(schema), (full,)), names) == [plain]
    nulls = ("boolean", "Int32", "Int64", "float64", "datetime64[ns]", "timedelta64[ns]", *["object"] * 4)
    assert run_script(script, Table(columns(schema), (full, (None,) * 10)), names) == [nulls]
    assert run_script(script, Table(columns("a: datetime, b: datetime"), ((0, LAST),)), "a: string, b: string") == [
        ("datetime64[us]", "object")
    ]


def test_no_rows_no_columns_and_columns_of_one_name() -> None:
    assert run_script("result = df", Table(columns("a: long, b: dynamic")), "a: long, b: dynamic") == []
    assert run_script("result = df", EMPTY, ()) == []
    twice = Table(columns("a: long, a: long"), ((1, 2),))
    assert run_script("result = df", twice, "p: long, q: long") == [(1, 2)]


def test_the_timespan_that_numpy_reads_as_null_is_refused() -> None:
    with pytest.raises(KustoError, match=r"python cannot represent the timespan -10675199\.02:48:05\.4775808"):
        run_script("result = df", Table(columns("x: timespan"), ((kusto_time.MIN_TIMESPAN,),)), "x: timespan")


def test_values_of_python_become_those_of_kusto_exactly() -> None:
    row = {
        "True": ("bool", True),
        "np.bool_(False)": ("bool", False),
        "np.int8(-3)": ("int", -3),
        "2.0": ("long", 2),
        "np.uint64(9223372036854775807)": ("long", LONGEST),
        "np.float32(0.1)": ("real", 0.10000000149011612),
        "3": ("real", 3.0),
        "12": ("decimal", Decimal(12)),
        "120": ("string", "120"),
        "np.str_('a')": ("string", "a"),
        "uuid.UUID('0A0B0C0D-0000-4000-8000-0123456789AB')": ("guid", GUID),
        f"'{GUID.upper()}'": ("guid", GUID),
        "pd.Timestamp('2024-02-29 13:00:00.1234567', tz='Europe/Paris')": ("datetime", NOON),
        "datetime.datetime(1970, 1, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))": (
            "datetime",
            kusto_time.EPOCH,
        ),
        "datetime.date(1, 1, 1)": ("datetime", 0),
        "np.datetime64('1970-01-01')": ("datetime", kusto_time.EPOCH),
        "np.timedelta64(5, 'm')": ("timespan", 300 * kusto_time.SECOND),
        "datetime.timedelta(microseconds=-1)": ("timespan", -10),
        "np.array([[1, 2], [3, 4]])": ("dynamic", "[[1,2],[3,4]]"),
        "{'a': (np.float64(0.5), np.nan, None)}": ("dynamic", '{"a":[0.5,null,null]}'),
        "decimal.Decimal('0.1')": ("dynamic", "0.1"),
    }
    declared = tuple(Column(f"c{index}", kind) for index, (kind, _) in enumerate(row.values()))
    assert run_script(result(*row), output=declared) == [tuple(value for _, value in row.values())]


def test_every_null_of_pandas_is_null_and_in_a_string_column_the_empty_text() -> None:
    nulls = ["None", "np.nan", "pd.NA", "pd.NaT", "np.datetime64('NaT')", "decimal.Decimal('NaN')"]
    script = f"import decimal\nresult = pd.DataFrame({{i: pd.Series([{', '.join(nulls)}], dtype=object) for i in range(10)}})"
    kinds = ("bool", "int", "long", "real", "decimal", "datetime", "timespan", "guid", "dynamic", "string")
    declared = tuple(Column(kind, kind) for kind in kinds)
    assert run_script(script, output=declared) == [(None,) * 9 + ("",)] * len(nulls)


MISFITS: list[tuple[str, Any, str]] = [
    ("bool", 1, "1 (int)"),
    ("int", 2**31, "2147483648 (int): out of range"),
    ("long", 2**63, "9223372036854775808 (int): out of range"),
    ("long", 1.5, "1.5 (float): not an exact whole number"),
    ("long", 2.0**60, "1.152921504606847e+18 (float): not an exact whole number"),
    ("long", True, "True (bool)"),
    ("long", "1", "'1' (str)"),
    ("long", np.timedelta64(5, ("ns", 100)), "500000000000 (timespan)"),
    ("real", 2**53 + 1, "9007199254740993 (int): not exactly representable as real"),
    ("real", 10**400, "(int): int too large to convert to float"),
    ("real", 1j, "1j (complex)"),
    ("decimal", 0.1, "0.1 (float)"),
    ("decimal", 10**35 + 1, "(int): more than 34 digits"),
    ("decimal", Decimal("inf"), "Decimal('Infinity') (Decimal)"),
    ("string", 0.5, "0.5 (float)"),
    ("string", b"a", "b'a' (bytes)"),
    ("string", "\ud800", "'\\ud800' (str): an unpaired surrogate"),
    ("guid", "1", "'1' (str): not a guid"),
    ("datetime", "2024-01-01", "'2024-01-01' (str)"),
    ("datetime", np.datetime64("2024-01-01T00:00:00.000000001"), "(datetime): finer than 100 ns"),
    ("datetime", np.datetime64("10000-01-01"), "(datetime): out of range"),
    ("datetime", np.datetime64("0000-12-31"), "(datetime): out of range"),
    ("timespan", 5, "5 (int)"),
    ("timespan", dt.timedelta(days=10675200), "(timespan): out of range"),
    ("dynamic", {1: 2}, "{1: 2} (dict)"),
    ("dynamic", [pd.Timestamp("2024")], "JSON has no type for datetime"),
    ("dynamic", float("inf"), "inf (float)"),
    ("dynamic", {"a": {1}}, "JSON has no type for set"),
]


@pytest.mark.parametrize(("kind", "value", "failure"), MISFITS)
def test_a_value_that_does_not_fit_is_refused_with_column_value_and_type(kind: str, value: Any, failure: str) -> None:
    with pytest.raises(KustoError) as caught:
        sandbox._fit(Column("x", kind), json.loads(json.dumps(sandbox_child.to_wire(value))))
    start = f"the python script's result does not fit: column 'x' is declared {kind}, but has the value "
    assert start in caught.value.detail
    assert failure in caught.value.detail


def test_a_result_that_does_not_fit_is_refused() -> None:
    failure = (
        "'s result does not fit: column 'b' is declared long, but has the value 1.5 (float): not an exact whole number"
    )
    assert refusal(result("1", "1.5"), output="a: long, b: long") == failure


def test_a_result_with_another_number_of_columns_is_refused_and_both_are_named() -> None:
    failure = "'s result has 2 columns (c0, c1), but 1 are declared (x: long)"
    assert refusal(result("1", "2")) == failure


@pytest.mark.parametrize(
    ("script", "failure"),
    [
        ("a = 1\n\nb = x", " failed: NameError: name 'x' is not defined (line 3)"),
        (
            "if 1:\n    a = 1\n  b = 2",
            " failed: IndentationError: unindent does not match any outer indentation level (line 3)",
        ),
        ("x = (", " failed: SyntaxError: '(' was never closed (line 1)"),
        ("def f():\n    raise ValueError('a\\nb')\n\nf()", " failed: ValueError: a b (line 2)"),
        ("raise ValueError('x' * 10**6)", f" failed: ValueError: {'x' * 500}… (line 1)"),
        ("import sys\nsys.exit(3)", " failed: SystemExit: 3 (line 2)"),
        ("assert 0", " failed: AssertionError (line 1)"),
        ("a = 1", " failed: result was not set; it must be a DataFrame"),
        ("result = df.sum()", " failed: result is a Series; it must be a DataFrame"),
        ("import os\nos._exit(0)", " ended its process (exit code 0) before it returned a result"),
        ("import os\nos._exit(7)", " ended its process (exit code 7) before it returned a result"),
    ],
)
def test_an_error_of_the_script_is_one_sentence_with_its_line(script: str, failure: str) -> None:
    assert refusal(script) == failure


def test_an_error_shows_no_path_of_this_machine() -> None:
    failure = refusal("from numpy import nothing")
    assert failure == " failed: ImportError: cannot import name 'nothing' from 'numpy' (…/numpy/__init__.py) (line 1)"
    failure = refusal("import os\nopen(os.path.abspath('missing'))")
    assert failure == " failed: FileNotFoundError: [Errno 2] No such file or directory: '…/missing' (line 2)"


def test_a_script_has_its_parameters_and_its_own_module() -> None:
    script = (
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: 'int'\n"
        "result = pd.DataFrame({'x': [A(kargs['n']).x], 'k': [kargs], 'f': [df.shape[0] == np.int64(1)]})"
    )
    parameters = {"n": LONGEST, "d": Decimal("0.12345678901234567890123"), "l": [None, True, {"é": 0.5}]}
    rows = run_script(
        script, Table((Column("a", "long"),), ((1,),)), "x: long, k: dynamic, f: bool", parameters=parameters
    )
    written = '{"n":9223372036854775807,"d":0.12345678901234567890123,"l":[null,true,{"é":0.5}]}'
    assert rows == [(LONGEST, written, True)]


def test_artifacts_are_files_in_temp_also_as_the_documentation_writes_them() -> None:
    script = (
        "import os\npath = '.\\\\Temp'\nfiles = sorted(os.listdir(path))\n"
        "sizes = [os.path.getsize(path + '\\\\' + file) for file in files]\n"
        "result = pd.DataFrame({'f': files, 's': sizes, 't': [open('Temp/' + file).read() for file in files]})"
    )
    rows = run_script(script, output="f: string, s: string, t: string", artifacts={"one": b"1", "two.txt": b"22"})
    assert rows == [("one", "1", "1"), ("two.txt", "2", "22")]


@pytest.mark.parametrize("name", ["../x", "a/b", "a\\b", "", "..", "C:x", "a\0", "/etc/x"])
def test_an_artifact_whose_name_is_not_a_file_name_is_refused(name: str) -> None:
    with pytest.raises(KustoError, match="is not a valid file name"):
        run_script("result = df", artifacts={name: b""})


def test_zipackage_installs_modules_packages_and_wheels_whatever_the_case_of_the_name() -> None:
    wheel = zipped({"wheeled/__init__.py": "value = 3", "wheeled-1.dist-info/METADATA": ""})
    content = zipped({"single.py": "value = 1", "pack/__init__.py": "", "pack/inner.py": "value = 2", "w-1.whl": wheel})
    script = (
        "from sandbox_utils import Zipackage\nZipackage.install('Faker.zip')\n"
        "import single, wheeled\nfrom pack import inner\n"
        "result = pd.DataFrame({'x': [single.value, inner.value, wheeled.value]})"
    )
    assert run_script(script, artifacts={"faker.zip": content}) == [(1,), (2,), (3,)]


def test_a_zip_with_a_path_outside_of_its_folder_is_refused() -> None:
    names = ["../evil.py", "/evil.py", "a/../../evil.py", "..\\evil.py", "C:evil.py"]
    zips = {f"{n}.zip": zipped({"good.py": "", name: "x = 1"}) for n, name in enumerate(names)}
    failure = refusals("from sandbox_utils import Zipackage", [f"Zipackage.install('{zip_}')" for zip_ in zips], zips)
    outside = [f"{zip_} contains {name}, which is outside its folder" for zip_, name in zip(zips, names, strict=True)]
    assert list(failure.values()) == outside


def test_a_missing_or_invalid_zip_is_an_error_of_the_script() -> None:
    script = "from sandbox_utils import Zipackage\nZipackage.install('a.zip')"
    assert refusal(script) == " failed: FileNotFoundError: there is no artifact a.zip (line 2)"
    assert refusal(script, artifacts={"a.zip": b"x"}) == " failed: BadZipFile: File is not a zip file (line 2)"


@on_linux
@pytest.mark.parametrize("script", ["a = bytearray(8 << 30)", "a = np.ones(1 << 30)"])
def test_a_script_that_allocates_8_gb_gets_an_error_with_the_limit(script: str) -> None:
    assert refusal(script) == " failed: MemoryError: the memory limit of 4 GiB was reached (line 1)"


@on_linux
def test_a_script_that_fills_the_memory_gradually_gets_an_error_with_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "MEMORY_BYTES", 2**30)
    failure = refusal("a = []\nwhile True:\n    a.append('x' * 1000 + str(len(a)))")
    assert failure == " failed: MemoryError: the memory limit of 1 GiB was reached (line 3)"


@pytest.mark.parametrize("script", ["import time\ntime.sleep(1000)", "while True:\n    pass"])
def test_a_script_that_never_ends_is_stopped(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "SCRIPT_SECONDS", 1.5)
    assert refusal(script) == " was stopped after 1.5 seconds"
    # On a busy machine, any script may take longer than that.
    monkeypatch.undo()
    assert run_script(result("1")) == [(1,)]


def test_the_time_of_the_request_ends_the_script_as_a_timeout_of_the_server() -> None:
    with pytest.raises(KustoError) as caught:
        run_script("import time\ntime.sleep(1000)", seconds=0.7)
    assert (caught.value.status, caught.value.code) == (504, "GatewayTimeout")


def test_a_request_that_is_cancelled_ends_its_script() -> None:
    run = new_run()
    timer = threading.Timer(0.7, run.cancel, ["enough"])
    timer.start()
    with pytest.raises(KustoError, match=r"Query was canceled: enough"):
        run_script("import time\ntime.sleep(1000)", run=run)
    with pytest.raises(KustoError, match="Query was canceled"):
        run_script(result("1"), run=run)


FORKS = [
    "import os\nos.fork()",
    "import os\nos.forkpty()",
    "import os\nwhile True:\n    os.fork()",
    "import _posixsubprocess as p\np.fork_exec()",
    "import sys\ndel sys.modules['_posixsubprocess']\nimport _posixsubprocess as p\np.fork_exec()",
    "import multiprocessing as m\nm.get_context('fork').Process(target=print).start()",
    "import multiprocessing as m\nm.get_context('spawn').Process(target=print).start()",
    "import multiprocessing as m\nm.get_context('forkserver').Process(target=print).start()",
    "import subprocess\nsubprocess.run(['true'])",
    "import os\nos.system('true')",
    "import os\nos.popen('true')",
    "import os\nos.execv('/bin/true', ['true'])",
    "import os\nos.posix_spawn('/bin/true', ['true'], {})",
    "import pty\npty.spawn('true')",
    "import os\nos.kill(os.getppid(), 0)",
]


@pytest.mark.skipif(os.name != "posix", reason="forks")
def test_a_script_starts_no_process() -> None:
    forbidden = "scripts run by the python plugin cannot start a process or send it a signal"
    assert refusals("", FORKS) == dict.fromkeys(FORKS, forbidden)
    assert refusal("import os\nos.fork()") == f" failed: PermissionError: {forbidden} (line 2)"


@on_linux
def test_a_script_that_keeps_forking_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass"
    with monkeypatch.context() as patched:
        patched.setattr(sandbox, "SCRIPT_SECONDS", 1.5)
        assert refusal(script) == " was stopped after 1.5 seconds"
    assert run_script(result("1")) == [(1,)]


@on_linux
@pytest.mark.parametrize("leave", ["pass", "os.setsid()"], ids=["in the group", "outside of the group"])
@pytest.mark.parametrize("end", ["time.sleep(0.3)", "time.sleep(1000)"], ids=["leader ends", "leader stays"])
def test_processes_that_were_started_anyway_are_ended(
    leave: str, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = tmp_path / "child.py"
    started = tmp_path / "started"
    child.write_text(
        f"import os, pathlib, time\nfor _ in range(5):\n    if not os.fork():\n        {leave}\n"
        f"        pathlib.Path('{started}').open('a').write('x')\n        time.sleep(1000)\n{end}\n"
    )
    monkeypatch.setattr(sandbox, "CHILD", child)
    monkeypatch.setattr(sandbox, "SCRIPT_SECONDS", 1.0)
    with pytest.raises(KustoError):
        run_script("")
    assert started.read_text() == "xxxxx"


@on_linux
def test_a_script_does_not_outlive_the_cluster(tmp_path: Path) -> None:
    program = (
        f"import sys\nsys.path.insert(0, {str(Path(__file__).parents[3])!r})\n"
        "from tests.local.sandbox.test_sandbox import run_script\n"
        "run_script('import pathlib, time\\npathlib.Path(\"here\").touch()\\ntime.sleep(1000)')\n"
    )
    place = {"TMPDIR": str(tmp_path), "PATH": os.environ["PATH"]}
    before = processes(tmp_path)
    cluster = subprocess.Popen([sys.executable, "-c", program], env=place)
    try:
        eventually(lambda: list(tmp_path.glob("kqlmi-python-*/work/here")))
        assert processes(tmp_path) - before - {str(cluster.pid)} != set()
    finally:
        cluster.send_signal(signal.SIGKILL)
        cluster.wait()
    eventually(lambda: processes(tmp_path) - before == set())


CALLS = [
    "urllib.request.urlopen('http://127.0.0.1:9')",
    "socket.getaddrinfo('localhost', 80)",
    "socket.gethostbyname('localhost')",
    "socket.socket().connect(('127.0.0.1', 9))",
    "socket.socket().connect_ex(('127.0.0.1', 9))",
    "socket.socket().bind(('127.0.0.1', 0))",
    "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
]


def test_a_script_has_no_network() -> None:
    failure = refusals("import socket, urllib.request", CALLS)
    assert failure.keys() == set(CALLS)
    assert all("scripts run by the python plugin cannot use the network" in message for message in failure.values())


def test_a_script_calls_no_library_by_ctypes() -> None:
    failure = (
        " failed: PermissionError: scripts run by the python plugin cannot load or call a library with ctypes (line 2)"
    )
    assert refusal("import ctypes\nctypes.CDLL(None)") == failure
    assert refusal("import ctypes\nctypes.pythonapi.Py_Initialize") == failure


CHANGES = [
    "open(path, 'w')",
    "open(path, 'a')",
    "os.open(path, os.O_RDWR)",
    "os.remove(path)",
    "os.rename(path, 'here')",
    "os.replace('Temp', path)",
    "os.link(path, 'here')",
    "os.mkdir(path + '2')",
    "os.chmod(path, 0)",
    "os.truncate(path, 0)",
    "shutil.rmtree(os.path.dirname(path))",
    "sqlite3.connect(path)",
    "(os.symlink(path, 'link'), open('link', 'w'))",
    "open('../answer.json', 'w')",
]


def test_a_script_changes_nothing_outside_of_its_folder(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("kept")
    failure = refusals(f"import os, shutil, sqlite3\npath = {str(kept)!r}", CHANGES)
    assert failure == dict.fromkeys(
        CHANGES, "scripts run by the python plugin can change files only in their working directory"
    )
    assert kept.read_text() == "kept"


def test_a_script_may_write_read_and_remove_in_its_folder() -> None:
    script = (
        "import os, shutil, tempfile\nos.makedirs('a/b')\nopen('a/b/c', 'w').write('x')\nshutil.rmtree('a')\n"
        "with tempfile.TemporaryDirectory() as name:\n    df.to_csv(name + '/f.csv')\n    np.save(name + '/g', df)\n"
        "open(os.devnull, 'w').write('x')\nresult = pd.DataFrame({'x': [len(os.listdir('Temp'))]})"
    )
    assert run_script(script) == [(0,)]


@on_linux
def test_a_file_and_a_result_that_are_too_large_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "FILE_BYTES", 2**22)
    monkeypatch.setattr(sandbox, "RESULT_BYTES", 2**20)
    assert refusal("open('f', 'wb').write(bytes(2**23))") == " failed: OSError: [Errno 27] File too large (line 1)"
    assert refusal(result("'x' * 2**20"), output="x: string") == " failed: result is larger than 1 MiB"


def test_the_environment_contains_nothing_from_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "secret")
    monkeypatch.setenv("PYTHONSTARTUP", "secret")
    rows = run_script("import os\nresult = pd.DataFrame(sorted(os.environ.items()))", output="k: string, v: string")
    given = dict(rows)
    allowed = {"PATH", "SYSTEMROOT", "HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP", "LANG", "LC_CTYPE", "TZ"}
    assert given.keys() <= allowed | {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"}
    assert "secret" not in given.values()
    assert given["HOME"] == given["TMPDIR"]
    assert Path(given["HOME"]).parent.name.startswith("kqlmi-python-")


def test_output_and_input_of_a_script_do_not_block_it() -> None:
    script = (
        "import os, sys\nprint('x' * 10_000_000)\nprint('x' * 10_000_000, file=sys.stderr)\nos.write(1, b'x' * 10**7)\n"
        "result = pd.DataFrame({'x': [len(sys.stdin.read())]})"
    )
    assert run_script(script) == [(0,)]


def test_threads_that_a_script_leaves_running_do_not_delay_its_result() -> None:
    script = "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\n"
    assert run_script(script + result("1")) == [(1,)]


def test_scripts_run_side_by_side() -> None:
    with ThreadPoolExecutor(6) as pool:
        given = list(pool.map(lambda number: run_script(result(str(number))), range(12)))
    assert given == [[(number,)] for number in range(12)]
