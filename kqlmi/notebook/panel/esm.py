"""The page's JavaScript: its modules joined into the one that anywidget takes, without a build step."""

import re
from pathlib import Path

_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./(\w+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:const|function) (\w+))", re.MULTILINE)


def joined(entry: Path) -> str:
    """Return a module and those that it imports as one, each before those that import it.

    Each but ``entry`` becomes a function that runs once and returns what the module exports, so that names cannot collide.
    The modules import by name, from their own folder, and export functions and constants where they declare them.
    """
    modules: dict[Path, str] = {}

    def add(path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        for _, name in _IMPORT.findall(text):
            if (imported := path.with_name(f"{name}.js")) not in modules:
                add(imported)
        text = _IMPORT.sub(r"const \1 = $\2;", text)
        if path != entry:
            exported = ", ".join(_EXPORT.findall(text))
            text = f"const ${path.stem} = (() => {{\n{_EXPORT.sub('', text)}return {{ {exported} }};\n}})();\n"
        modules[path] = f"// {path.name}\n{text}"

    add(entry)
    return "\n".join(modules.values())
