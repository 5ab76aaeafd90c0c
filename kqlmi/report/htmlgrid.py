"""A grid as an HTML table, whose cells are shaded and open with a click, without scripts or links."""

import re
from collections.abc import Iterable, Mapping
from html import escape
from itertools import groupby
from types import MappingProxyType
from typing import Final

from kqlmi.errors import printable
from kqlmi.report.report import Grid, GridRow, Mark, Tile

# Half opaque at most, so that the text on it has enough contrast on a light and on a dark page.
_DARKEST: Final = 0.5
_SHADES: Final[Mapping[Mark, str]] = MappingProxyType(
    {"-": "rgba(208,40,28,.22)", "warning": "rgba(214,150,0,.26)", "": "rgba(31,119,208,{:.2f})"}
)
_INNER_CAPITAL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_LINE: Final = "var(--jp-border-color2,rgba(128,128,128,.35))"
# A page may style tables itself, so the selectors are more specific than those of JupyterLab.
_STYLE: Final = f"""<style>
table.kqlmi-grid.kqlmi-grid{{border-collapse:separate;border-spacing:0;table-layout:auto;font-size:13px;margin:6px 0}}
.kqlmi-grid caption{{text-align:left;padding:4px 0 8px;opacity:.8}}
.kqlmi-grid.kqlmi-grid tr:nth-child(n){{background:none}}
.kqlmi-grid.kqlmi-grid tr>*{{text-align:center;vertical-align:top;padding:3px 4px;white-space:normal;max-width:none;\
border:0 solid {_LINE};border-width:0 1px 1px 0;font-weight:normal}}
.kqlmi-grid.kqlmi-grid thead th{{position:sticky;top:0;vertical-align:bottom;font-weight:600;font-size:12px;\
background:var(--jp-layout-color0,Canvas)}}
.kqlmi-grid.kqlmi-grid tr>th:first-child{{text-align:left;min-width:8em;padding-right:10px}}
.kqlmi-grid.kqlmi-grid th[scope=rowgroup]{{font-weight:600;padding-top:12px;opacity:.8}}
.kqlmi-grid small{{display:block;font-size:11px;opacity:.8;font-family:var(--jp-code-font-family,ui-monospace,monospace)}}
.kqlmi-grid summary{{cursor:pointer;list-style:none;display:block;border-radius:4px;padding:2px 4px;min-width:4.2em}}
.kqlmi-grid summary::-webkit-details-marker{{display:none}}
.kqlmi-grid summary:hover{{text-decoration:underline}}
.kqlmi-grid details>div{{text-align:left;width:10em;max-height:20em;overflow:auto;padding:3px 5px;overflow-wrap:anywhere}}
@media print{{.kqlmi-grid summary{{print-color-adjust:exact}}}}
</style>"""


def table(grid: Grid) -> str:
    """Return a grid as a table with headers for its columns, rows and groups, and every text in it escaped."""
    head = "".join(f'<th scope="col">{_breakable(name)}</th>' for name in grid.columns)
    groups = groupby(grid.rows, key=lambda row: row.group)
    body = "".join(_group(name, tuple(rows), len(grid.columns)) for name, rows in groups)
    caption = f"<caption>{_text(grid.caption)}</caption>"
    return f'{_STYLE}<table class="kqlmi-grid">{caption}<thead><tr>{head}</tr></thead>{body}</table>'


def _group(name: str, rows: Iterable[GridRow], columns: int) -> str:
    head = f'<tr><th scope="rowgroup" colspan="{columns}">{_text(name)}</th></tr>' if name else ""
    return f"<tbody>{head}{''.join(map(_row, rows))}</tbody>"


def _row(row: GridRow) -> str:
    notes = "".join(f" <small>{_text(note)}</small>" for note in row.notes)
    return f'<tr><th scope="row">{_text(row.header)}{notes}</th>{"".join(map(_tile, row.tiles))}</tr>\n'


def _tile(tile: Tile) -> str:
    if not tile.lines:
        return f"<td>{_text(tile.text)}</td>"
    shade = _SHADES.get(tile.mark, _SHADES[""]).format(0.06 + (_DARKEST - 0.06) * tile.share)
    lines = "<br>".join(map(_text, tile.lines))
    return (
        f'<td><details><summary style="background-color:{shade}">{_text(tile.text)}</summary>'
        f"<div>{lines}</div></details></td>"
    )


def _breakable(name: str) -> str:
    """Return a name that may be broken before each capital letter; it can still be found and copied as one word."""
    return "<wbr>".join(map(_text, _INNER_CAPITAL.split(name)))


def _text(text: str) -> str:
    return escape(printable(text))
