"""The process that runs one script of the ``python`` plugin within limits.

It is started by its file path in the working directory of one run, imports nothing from kqlmi, reads ``../request.json``
and writes ``../answer.json``. The script is the user's own: the limits and the audit hook prevent a mistake from filling
the memory, leaving processes behind, using the network or writing elsewhere. They are not a security boundary.
"""

import contextlib
import datetime as dt
import importlib
import json
import os
import sys
import threading
import traceback
import uuid
import zipfile
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

_WORK = Path.cwd().resolve()
_SCRIPT = "<script>"
_SHOWN = 500
_UNPACKED_BYTES = 2**30

_EPOCH = 62_135_596_800 * 10**18
"""Attoseconds from year 1 to 1970."""
_UNITS = {"W": 604_800, "D": 86_400, "h": 3600, "m": 60, "s": 1}
_ATTOSECONDS = {unit: seconds * 10**18 for unit, seconds in _UNITS.items()} | {
    unit: 10**power for unit, power in {"ms": 15, "us": 12, "ns": 9, "ps": 6, "fs": 3, "as": 0}.items()
}

_NO_PROCESS = "start a process or send it a signal"
_REFUSED = {
    event: what
    for what, events in {
        _NO_PROCESS: (
            "os.fork os.forkpty os.exec os.posix_spawn os.spawn os.system os.startfile os.startfile/2 os.kill os.killpg "
            "pty.spawn subprocess.Popen _winapi.CreateProcess"
        ),
        "use the network": (
            "socket.connect socket.bind socket.sendto socket.sendmsg socket.getaddrinfo socket.getnameinfo "
            "socket.gethostbyname socket.gethostbyaddr"
        ),
        "load or call a library with ctypes": "ctypes.dlopen ctypes.dlsym ctypes.dlsym/handle ctypes.call_function",
    }.items()
    for event in events.split()
}
_CHANGES = {
    event: paths
    for paths, events in {
        (0,): (
            "os.remove os.rmdir os.mkdir os.chmod os.chown os.utime os.truncate os.setxattr os.removexattr "
            "shutil.rmtree sqlite3.connect"
        ),
        (1,): "os.symlink",
        (0, 1): "os.rename os.link",
    }.items()
    for event in events.split()
}
"""For each event that changes files or folders, the indexes of the arguments that are the changed paths."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Zipackage:
    """The installer of packages that Kusto's sandbox offers as ``sandbox_utils.Zipackage``."""

    @staticmethod
    def install(name: str) -> None:
        """Make the packages in a zip artifact importable; the case of its name does not matter."""
        named = [path for path in (_WORK / "Temp").iterdir() if path.name.lower() == name.lower()]
        if not named:
            raise FileNotFoundError(f"there is no artifact {name}")
        archive = min(named, key=lambda path: path.name != name)
        folder = _WORK / "packages" / archive.name
        _unpack(archive, folder)
        for wheel in sorted(folder.rglob("*.whl")):
            _unpack(wheel, folder)
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()


def _unpack(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as zipped:
        for name in zipped.namelist():
            parts = name.replace("\\", "/").split("/")
            if not parts[0] or ":" in parts[0] or ".." in parts:
                raise ValueError(f"{archive.name} contains {name}, which is outside its folder")
        if sum(member.file_size for member in zipped.infolist()) > _UNPACKED_BYTES:
            raise ValueError(f"{archive.name} contains more than {_UNPACKED_BYTES >> 20} MiB")
        zipped.extractall(folder)


def set_limits(limits: dict[str, int]) -> None:
    """Limit memory, processor time and file size, but not processes: that limit counts all threads of the user."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for name, value in {"AS": limits["memory"], "CPU": limits["cpu"], "FSIZE": limits["file"], "CORE": 0}.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # macOS does not limit the address space.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (bound, bound))


def end_with_parent() -> None:
    """End this process when standard input closes, which the parent keeps open while it runs."""
    inherited = os.dup(0)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)

    def wait() -> None:
        os.read(inherited, 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def forbid() -> None:
    """Forbid processes, the network, ctypes and changes outside the working directory from now on."""

    def refuse_process(*_: object) -> None:
        raise PermissionError(f"scripts run by the python plugin cannot {_NO_PROCESS}")

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event in _REFUSED:
            raise PermissionError(f"scripts run by the python plugin cannot {_REFUSED[event]}")
        if event == "import" and args[0] == "_posixsubprocess":
            refuse_process()
        changed = [args[index] for index in _CHANGES.get(event, ())]
        if event == "open" and (args[2] or 0) & _WRITING:
            changed.append(args[0])
        for path in changed:
            if not isinstance(path, int) and not _is_ours(os.fsdecode(path)):
                raise PermissionError(
                    "scripts run by the python plugin can change files only in their working directory"
                )

    # These ways to start a process have no audit event.
    for module, name in (("_posixsubprocess", "fork_exec"), ("subprocess", "_fork_exec")):
        if hasattr(sys.modules.get(module), name):
            setattr(sys.modules[module], name, refuse_process)
    sys.addaudithook(hook)


def _is_ours(path: str) -> bool:
    return path == os.devnull or Path(os.path.realpath(path)).is_relative_to(_WORK)


def to_frame(columns: Sequence[tuple[str, str, list[Any]]]) -> Any:
    """Return a DataFrame of columns, each given as a name, a dtype and values."""
    import pandas as pd

    frame = pd.DataFrame({index: _series(dtype, values) for index, (_, dtype, values) in enumerate(columns)})
    frame.columns = pd.Index([name for name, _, _ in columns], dtype=object)  # two may have the same name
    return frame


def _series(dtype: str, values: list[Any]) -> Any:
    import numpy as np
    import pandas as pd

    if dtype in {"str", "dynamic", "decimal"}:
        convert: Any = {"dynamic": _loads, "decimal": Decimal}.get(dtype, str)
        return pd.Series([None if value is None else convert(value) for value in values], dtype=object)
    if "64[" in dtype:
        times = np.array(values, dtype=np.int64).view(dtype)
        return pd.Series(list(times), dtype=object) if "[100ns]" in dtype else pd.Series(times)  # unknown to pandas
    return pd.Series(values, dtype=dtype)


def _loads(text: str) -> Any:
    def number(digits: str) -> float | Decimal:
        exact = Decimal(digits)
        return float(digits) if Decimal(repr(float(digits))) == exact else exact

    return json.loads(text, parse_float=number)


def to_wire(value: Any) -> Any:
    """Return null, bool, int, float and str unchanged, and any other value as ``{kind: value}``.

    NaN becomes null, because pandas does not distinguish them. Times are whole attoseconds, since year 1 or as a
    duration.
    """
    import numpy as np
    import pandas as pd

    if isinstance(value, np.ndarray | list | tuple):
        return {"list": [to_wire(item) for item in value]}
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {"dict": [[name, to_wire(item)] for name, item in value.items()]}
    is_nan = isinstance(value, float | np.floating | Decimal) and value != value  # noqa: PLR0124
    if value is None or value is pd.NA or value is pd.NaT or is_nan:
        return None
    is_length = isinstance(value, np.timedelta64)  # numpy counts it as an integer
    if isinstance(value, uuid.UUID) or (isinstance(value, Decimal) and value.is_finite()):
        return {"decimal" if isinstance(value, Decimal) else "guid": str(value)}
    for kind, kinds in ((bool, bool | np.bool_), (int, int | np.integer), (float, float | np.floating), (str, str)):
        if isinstance(value, kinds) and not is_length and kind(value) == value:  # a longdouble may not convert exactly
            return kind(value)
    return _time(_to_numpy(value)) or {"other": [type(value).__name__, repr(value)[:_SHOWN]]}


def _to_numpy(value: Any) -> Any:
    import numpy as np
    import pandas as pd

    if isinstance(value, pd.Timestamp | pd.Timedelta):
        return value.asm8  # in UTC, and with all digits
    if isinstance(value, dt.datetime):
        return np.datetime64(value.astimezone(dt.UTC).replace(tzinfo=None) if value.tzinfo else value, "us")
    if isinstance(value, dt.date):
        return np.datetime64(value, "D")
    return np.timedelta64(value, "us") if isinstance(value, dt.timedelta) else value


def _time(value: Any) -> dict[str, int | None] | None:
    import numpy as np

    if not isinstance(value, np.datetime64 | np.timedelta64):
        return None
    kind, start = ("datetime", _EPOCH) if isinstance(value, np.datetime64) else ("timespan", 0)
    unit, count = np.datetime_data(value.dtype)
    if np.isnat(value):
        return {kind: None}
    if unit not in _ATTOSECONDS:  # months and years have no fixed length
        return None
    return {kind: int(value.astype(np.int64)) * count * _ATTOSECONDS[unit] + start}


def answer(request: dict[str, Any]) -> str:
    """Run the script, and return its result or the reason for its failure as JSON."""
    import numpy as np
    import pandas as pd

    main = ModuleType("__main__")
    vars(main).update(df=to_frame(request["columns"]), kargs=_loads(request["kargs"]), np=np, pd=pd)
    sys.modules |= {"__main__": main, "sandbox_utils": ModuleType("sandbox_utils")}
    vars(sys.modules["sandbox_utils"])["Zipackage"] = Zipackage
    try:
        exec(compile(request["script"], _SCRIPT, "exec"), vars(main))  # noqa: S102 - the purpose of this process
        result = vars(main).get("result")
        if not isinstance(result, pd.DataFrame):
            what = f"is a {type(result).__name__}" if "result" in vars(main) else "was not set"
            return json.dumps({"failure": f"result {what}; it must be a DataFrame"})
        columns = [[to_wire(value) for value in result.iloc[:, index]] for index in range(result.shape[1])]
        return json.dumps({"names": [str(name) for name in result.columns], "columns": columns})
    except BaseException as error:  # noqa: BLE001 - everything that a script raises is reported
        line = _line(error)
        vars(main).clear()  # frees memory, which may have run out
        return json.dumps({"failure": _sentence(error, request) + (f" (line {line})" if line else "")})


def _line(error: BaseException) -> int | None:
    if isinstance(error, SyntaxError) and error.filename == _SCRIPT:
        return error.lineno
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == _SCRIPT]
    traceback.clear_frames(error.__traceback__)
    return lines[-1] if lines else None


def _sentence(error: BaseException, request: dict[str, Any]) -> str:
    if isinstance(error, MemoryError):
        return f"MemoryError: the memory limit of {request['limits']['memory'] / 2**30:g} GiB was reached"
    try:
        text = str(error.msg if isinstance(error, SyntaxError) else error)
    except Exception:  # noqa: BLE001 - the script's own code may create the message
        text = ""
    for folder in sorted({str(_WORK), *request["paths"], *filter(None, sys.path)}, key=len, reverse=True):
        text = text.replace(folder, "…")
    text = " ".join(text.split())
    text = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def main() -> None:
    """Read the request, run the script, and write the response."""
    request = json.loads((_WORK.parent / "request.json").read_bytes())
    set_limits(request["limits"])
    end_with_parent()
    # An isolated process does not see the user's packages or those on PYTHONPATH.
    sys.path += [folder for folder in request["packages"] if folder not in sys.path]
    sys.dont_write_bytecode = True
    for name in ("ctypes", "subprocess", "pandas"):  # later, their own imports would be refused
        importlib.import_module(name)
    with (_WORK.parent / "answer.json").open("w", encoding="ascii") as file:
        forbid()
        text = answer(request)
        largest = request["limits"]["result"]
        too_large = json.dumps({"failure": f"result is larger than {largest >> 20} MiB"})
        file.write(text if len(text) <= largest else too_large)
    os._exit(0)  # regardless of threads that the script has left


if __name__ == "__main__":
    main()
