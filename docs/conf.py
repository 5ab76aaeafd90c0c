"""The Sphinx configuration of the documentation."""

import shutil
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))

import kqlmi  # noqa: E402 - needs the path above, as the extension does

project = "kqlmi"
version = release = kqlmi.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated"]

html_theme = "furo"
html_title = f"kqlmi {release}"
html_show_copyright = html_show_sphinx = False
html_copy_source = html_show_sourcelink = False
html_static_path = ["static"]
html_css_files = ["docs.css"]

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
smartquotes = False  # -- begins an option

# The notebooks are stored with their results, and the tests run them.
nb_execution_mode = "off"
nb_render_markdown_format = "myst"
suppress_warnings = [
    "mystnb.unknown_mime_type",  # the panel's; its HTML is shown instead
]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
add_module_names = False
# The pages do not document the standard library, other packages, and types that occur only in signatures.
nitpick_ignore_regex = [(r"py:.*", r"(?!kqlmi\.(Session|Policy|Scope|Identity|Plan|Draft|Panel|KqlmiError)$).*")]


def _copy_notebooks() -> None:
    """Copy the notebooks that changed to the folder from which Sphinx reads them."""
    for path in sorted((FOLDER.parent / "notebooks").glob("*.ipynb")):
        copy = FOLDER / "tutorials" / path.name
        if not copy.exists() or copy.read_bytes() != path.read_bytes():
            shutil.copyfile(path, copy)


_copy_notebooks()
