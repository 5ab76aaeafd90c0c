"""The bundler of the page's JavaScript: it joins the modules into the single one that anywidget needs."""

import re
from pathlib import Path

_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./(\w+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:const|function) (\w+))", re.MULTILINE)


def joined(entry: Path) -> str:
    """Return a module joined with the modules that it imports, in the order of their dependencies.

    Each module except ``entry`` becomes a function that is called once and returns its exports, so names cannot collide.
    Modules must use named imports from their own folder, and export functions and constants in their declarations.
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
