"""Tests of the package's structure: imports point down, the local cluster is independent, and imports are light."""

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import kqlmi

# One worker reads the package for all tests.
pytestmark = pytest.mark.xdist_group("layers")

# What a layer may import; every layer may also import errors, members, and itself.
MAY_IMPORT = {
    "redaction": set[str](),
    "errors": {"redaction"},
    "atomicfile": set[str](),
    "fanout": set[str](),
    "members": set[str](),
    "report": {"redaction"},
    "terminal": {"report"},
    "model": {"redaction", "report"},
    "policyfile": {"model"},
    "history": {"atomicfile", "cluster", "model", "report"},
    "credentials": {"redaction"},
    "cluster": {"model", "credentials", "fanout", "redaction", "report"},
    "arm": {"model", "credentials", "fanout"},
    # The independent implementation: it shares the two tables of rows, and no behaviour.
    "local": {"atomicfile", "model.usages", "model.workflows"},
    "apply": {"cluster", "history", "model", "report"},
    "session": {
        "model",
        "report",
        "policyfile",
        "history",
        "credentials",
        "cluster",
        "arm",
        "local",
        "apply",
        "atomicfile",
        "fanout",
    },
    "verbs": {"session", "model", "report", "fanout", "local"},
    "notebook": {"session", "model", "report", "terminal", "verbs"},
    "cli": {"session", "model", "report", "terminal", "verbs"},
    "__main__": {"cli"},
}
# The subpackages of a package, lowest first: a module imports only from its own and from those before it.
ROOMS = {
    "model": "usages workflows catalogue jsontext entities vocabulary kql policy uses statement plan audit explain azure templates",
    "cluster": "protocol faults . discovery",
    "session": "known_names core resource_manager policies whoami observation plans . session connections",
    "local": "values language state enforce engine storage query dispatch sandbox flows ingest commands azure http cluster"
    " world runtime",
}
MODULES_IN_A_FOLDER = 14
# Allowed imports that must not be made at import time.
LAZY = {"session": {"local", "arm"}, "verbs": {"local"}}

HEAVY = {
    "pandas",
    "rich",
    "azure",
    "msal",
    "requests",
    "duckdb",
    "duckdb_kql",
    "anywidget",
    "tornado",
    "ipywidgets",
    "tenacity",
    "tqdm",
}
POSIX_ONLY = {"fcntl", "grp", "pwd", "resource", "termios", "tty", "pty", "posix", "syslog"}
IMPURE = {"asyncio", "http", "io", "os", "pathlib", "random", "secrets", "shutil", "socket", "subprocess", "time"}

TYPING_ONLY = {"TYPE_CHECKING", "typing.TYPE_CHECKING"}

PACKAGE = Path(kqlmi.__file__).parent


class Import(NamedTuple):
    """An imported module; ``lazy`` if it is imported inside a function, or for the type checker only."""

    module: str
    lazy: bool


@cache
def read_package() -> dict[str, str]:
    """Return the source of each module, by its dotted name."""
    sources = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        sources[".".join(parts).removesuffix(".__init__")] = path.read_text(encoding="utf-8")
    return sources


def imports(name: str, source: str, modules: Mapping[str, str]) -> Iterator[Import]:
    """Yield each module that ``source`` imports; from a package in ``modules``, the submodule that is named."""
    is_package = any(other.startswith(f"{name}.") for other in modules)
    parents = name.split(".") if is_package else name.split(".")[:-1]

    def targets(node: ast.AST) -> Iterator[str]:
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                above = parents[: len(parents) - node.level + 1] if node.level else []
                origin = ".".join([*above, *filter(None, [node.module])])
                named = [f"{origin}.{alias.name}" for alias in node.names if alias.name != "__version__"]
                yield from (module if module in modules else origin for module in named)
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                yield module

    def visit(node: ast.AST, *, lazy: bool) -> Iterator[Import]:
        yield from (Import(target, lazy) for target in targets(node))
        lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        never_run = node.body if isinstance(node, ast.If) and ast.unparse(node.test) in TYPING_ONLY else []
        for child in ast.iter_child_nodes(node):
            yield from visit(child, lazy=lazy or child in never_run)

    yield from visit(ast.parse(source), lazy=False)


def within(module: str, allowed: set[str]) -> bool:
    """Check whether ``module`` is one of ``allowed``, or inside one."""
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


def violations(modules: Mapping[str, str]) -> list[str]:
    """Return each import that the table forbids; ``kqlmi`` itself re-exports, and is exempt."""
    found = []
    for name, source in modules.items():
        if name == "kqlmi":
            continue
        layer = name.split(".")[1]
        for target, lazy in imports(name, source, modules):
            if target.split(".")[0] != "kqlmi":
                continue
            inner = target.removeprefix("kqlmi").removeprefix(".")
            if not within(inner, MAY_IMPORT.get(layer, set()) | {layer, "errors", "members"}):
                found.append(f"{name} imports {target}")
            elif not lazy and within(inner, LAZY.get(layer, set())):
                found.append(f"{name} imports {target} outside a function")
    return found


def room(name: str) -> tuple[str, int] | None:
    """Return the package of a module and the rank of its subpackage, lowest first, or None if the package has no order."""
    _, package, *inner = name.split(".")
    if package not in ROOMS or not inner:
        return None
    rooms = ROOMS[package].split()
    return package, rooms.index(inner[0] if inner[0] in rooms else ".")


def upward(modules: Mapping[str, str]) -> list[str]:
    """Return each import from a higher subpackage, including those inside functions."""
    found = []
    for name, targets in arrows(modules).items():
        here = room(name)
        for target in sorted(targets):
            there = room(target)
            if here and there and here[0] == there[0] and here[1] < there[1]:
                found.append(f"{name} imports {target}")
    return found


def arrows(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """Return, for each module, the other ``modules`` that it imports, including inside functions and for the type checker."""
    return {
        name: {target for target, _ in imports(name, source, modules)} & modules.keys() - {name, "kqlmi"}
        for name, source in modules.items()
        if name != "kqlmi"
    }


def circles(modules: Mapping[str, str]) -> list[list[str]]:
    """Return each set of modules that import one another in a cycle."""
    reach = arrows(modules)
    for through in reach:
        for name in reach:
            if through in reach[name]:
                reach[name] = reach[name] | reach[through]
    found = {
        tuple(sorted(other for other in reach[name] if name in reach[other])) for name in reach if name in reach[name]
    }
    return [list(circle) for circle in sorted(found)]


def eager(modules: Mapping[str, str], forbidden: set[str]) -> list[str]:
    """Return each import of a forbidden library that happens at import time."""
    return [
        f"{name} imports {target}"
        for name, source in modules.items()
        for target, lazy in imports(name, source, modules)
        if not lazy and target.split(".")[0] in forbidden
    ]


def test_imports_point_down() -> None:
    assert "\n".join(violations(read_package())) == ""


def packages() -> list[str]:
    return sorted({name.split(".")[1] for name in read_package() if name != "kqlmi"})


def of(package: str, found: Iterable[str]) -> list[str]:
    return [one for one in found if re.match(rf"kqlmi\.{package}\b", one)]


@pytest.fixture(scope="module")
def upwards() -> list[str]:
    return upward(read_package())


@pytest.fixture(scope="module")
def round_trips() -> list[str]:
    return [" ".join(circle) for circle in circles(read_package())]


@pytest.mark.parametrize("package", packages())
def test_imports_point_down_between_subpackages(package: str, upwards: list[str]) -> None:
    assert of(package, upwards) == []


@pytest.mark.parametrize("package", packages())
def test_no_module_imports_itself_through_others(package: str, round_trips: list[str]) -> None:
    assert of(package, round_trips) == []


@pytest.mark.parametrize("package", packages())
def test_no_folder_contains_too_many_modules(package: str) -> None:
    modules = read_package()
    folders = Counter(name.rpartition(".")[0] for name in modules if not any(m.startswith(f"{name}.") for m in modules))
    assert of(package, [f"{folder}: {count}" for folder, count in folders.items() if count > MODULES_IN_A_FOLDER]) == []


@pytest.mark.parametrize(
    ("name", "source", "found"),
    [
        ("kqlmi.model.policy.access", "from kqlmi.model.plan.plan import Plan", ["kqlmi.model.plan.plan"]),
        ("kqlmi.model.policy.access", "def f():\n    from kqlmi.model.plan import plan", ["kqlmi.model.plan.plan"]),
        ("kqlmi.model.plan.draft", "from kqlmi.model.plan.plan import Plan", []),
        ("kqlmi.model.explain.gates", "from kqlmi.model.plan.plan import Plan", []),
        ("kqlmi.cluster.policies", "import kqlmi.cluster.discovery.uses", ["kqlmi.cluster.discovery.uses"]),
        ("kqlmi.cluster.discovery.uses", "import kqlmi.cluster.policies", []),
    ],
)
def test_the_checker_sees_a_planted_import_of_a_higher_subpackage(name: str, source: str, found: list[str]) -> None:
    others = ["model.plan.plan", "model.plan", "cluster.discovery.uses", "cluster.policies"]
    modules = {f"kqlmi.{other}": "" for other in others} | {name: source}
    assert upward(modules) == [f"{name} imports {target}" for target in found]


def test_the_checker_sees_a_planted_cycle() -> None:
    planted = {
        "kqlmi.model.a": "from kqlmi.model.b import x",
        "kqlmi.model.b": "def f():\n    from kqlmi.model import c",
        "kqlmi.model.c": "if TYPE_CHECKING:\n    from kqlmi.model.a import y",
        "kqlmi.model.d": "from kqlmi.model.a import z",
    }
    assert circles(planted) == [["kqlmi.model.a", "kqlmi.model.b", "kqlmi.model.c"]]
    assert circles(planted | {"kqlmi.model.c": ""}) == []


def test_every_module_has_a_layer() -> None:
    layers = {name.split(".")[1] for name in read_package() if name != "kqlmi"}
    assert layers <= MAY_IMPORT.keys()


@pytest.mark.parametrize(
    ("name", "source", "found"),
    [
        ("kqlmi.model.policy", "import kqlmi.cluster.table", ["kqlmi.cluster.table"]),
        ("kqlmi.model.policy", "from kqlmi import session", ["kqlmi.session"]),
        ("kqlmi.model.policy", "from kqlmi import Session", ["kqlmi"]),
        ("kqlmi.model.policy", "from kqlmi import __version__", []),
        ("kqlmi.model.policy", "from ..cluster import table", ["kqlmi.cluster.table"]),
        ("kqlmi.model", "from ..cluster.table import Table", ["kqlmi.cluster.table"]),
        ("kqlmi.model.policy", "def f():\n    import kqlmi.session", ["kqlmi.session"]),
        ("kqlmi.model.policy", "if TYPE_CHECKING:\n    from kqlmi.session import Session", ["kqlmi.session"]),
        ("kqlmi.model.policy", "import_module('kqlmi.session')", ["kqlmi.session"]),
        ("kqlmi.model.policy", "importlib.import_module('kqlmi.session')", ["kqlmi.session"]),
        ("kqlmi.local.engine", "from kqlmi.model.policy import Policy", ["kqlmi.model.policy"]),
        ("kqlmi.local.engine", "from kqlmi.model import usages, policy", ["kqlmi.model.policy"]),
        ("kqlmi.local.engine", "from kqlmi.model.workflows import WORKFLOWS", []),
        ("kqlmi.model.policy", "from . import usages\nfrom .usages import Usage\nfrom ..errors import PolicyError", []),
        ("kqlmi.session", "from kqlmi import local", ["kqlmi.local outside a function"]),
        ("kqlmi.session", "def f():\n    from kqlmi import local", []),
        ("kqlmi.session", "if TYPE_CHECKING:\n    from kqlmi.local import LocalCluster", []),
        ("kqlmi.session", "if not TYPE_CHECKING:\n    import kqlmi.arm", ["kqlmi.arm outside a function"]),
        ("kqlmi.newcomer", "from kqlmi.model import usages", ["kqlmi.model.usages"]),
    ],
)
def test_the_checker_sees_a_planted_import(name: str, source: str, found: list[str]) -> None:
    others = ["model", "model.usages", "model.policy", "cluster", "cluster.table", "local", "session", "errors"]
    modules = {f"kqlmi.{other}": "" for other in others} | {name: source}
    assert violations(modules) == [f"{name} imports {target}" for target in found]


def test_the_model_is_pure() -> None:
    model = {name: source for name, source in read_package().items() if name.startswith("kqlmi.model")}
    tops = {target.split(".")[0] for name in model for target, _ in imports(name, model[name], model)}
    assert tops <= sys.stdlib_module_names | {"kqlmi"}
    assert tops & IMPURE == set()


def test_no_module_needs_posix_to_be_imported() -> None:
    assert "\n".join(eager(read_package(), POSIX_ONLY)) == ""


def test_the_checker_sees_a_planted_posix_import() -> None:
    planted = {"kqlmi.history": "try:\n    import fcntl\nexcept ImportError:\n    pass\ndef f():\n    import pwd"}
    assert eager(planted, POSIX_ONLY) == ["kqlmi.history imports fcntl"]


def shared_mappings(source: str) -> list[str]:
    """Return the class fields whose default is a mapping proxy, which dataclasses of Python 3.11 reject."""
    fields = [node for one in ast.walk(ast.parse(source)) if isinstance(one, ast.ClassDef) for node in one.body]
    values = {ast.unparse(node.target): node.value for node in fields if isinstance(node, ast.AnnAssign)}
    return [name for name, value in values.items() if value and ast.unparse(value).startswith("MappingProxyType(")]


def test_no_class_needs_a_newer_python_for_its_defaults() -> None:
    assert {name: found for name, source in read_package().items() if (found := shared_mappings(source))} == {}
    assert shared_mappings("class A:\n    a: Mapping[str, str] = MappingProxyType({})\n    b: int = 1\n") == ["a"]


IMPORT = "import kqlmi"
LOAD = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell()
before = set(sys.modules)
shell.run_line_magic("load_ext", "kqlmi")
assert "kqlmi" in shell.extension_manager.loaded, "kqlmi is not an extension"
"""


@pytest.mark.parametrize("code", [IMPORT, LOAD], ids=["import", "load_ext"])
def test_nothing_heavy_is_loaded_by(code: str, tmp_path: Path) -> None:
    script = f"import sys\nbefore = set(sys.modules)\n{code}\nprint(*sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"IPYTHONDIR": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "kqlmi" in loaded
    assert loaded & HEAVY == set()
