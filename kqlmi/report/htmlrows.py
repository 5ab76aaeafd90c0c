"""Rows as an HTML table whose cells wrap, without scripts or links."""

import re
from collections.abc import Mapping
from html import escape
from types import MappingProxyType
from typing import Final

from kqlmi.errors import printable
from kqlmi.report.report import Kind, Mark, Rows, cell, counted, tags

# So many characters are about as wide as a notebook of 1,100 pixels. A word longer than its column's part of them is broken
# rather than widening the table, after a punctuation mark if it has any.
_CHARACTERS: Final = 110
_PLACES: Final = re.compile(r"(?<=\w[._/,;=&-])(?=\w)")
# A list that is not longer is not folded.
_SHORT: Final = 60
# A tag that is not longer stays on one line.
_TAG: Final = 20
_CLASSES: Final[Mapping[Mark, str]] = MappingProxyType(
    {"done": " kqlmi-good", "not done": " kqlmi-bad", "not checked": " kqlmi-open", "warning": " kqlmi-warn", "stops": " kqlmi-bad"}
)  # fmt: skip
_LINE: Final = "var(--jp-border-color2,rgba(128,128,128,.35))"
_MONO: Final = "12px/1.5 var(--jp-code-font-family,ui-monospace,Menlo,Consolas,monospace)"
# A page may style tables itself, so the selectors are more specific than those of JupyterLab. Colours are mixed with that
# of the text, so that they have enough contrast in light and dark. An identifier is shortened only if there is no room.
_STYLE: Final = f"""<style>
table.kqlmi-rows.kqlmi-rows{{table-layout:auto;border-collapse:collapse;font-size:13px;line-height:1.45;margin:4px 0;\
border:0}}
.kqlmi-rows.kqlmi-rows tr:nth-child(n){{background:none}}
.kqlmi-rows.kqlmi-rows tbody tr:hover{{background:rgba(128,128,128,.08)}}
.kqlmi-rows.kqlmi-rows tr>*{{text-align:left;vertical-align:top;padding:5px 8px 5px 2px;max-width:none;\
white-space:pre-wrap;overflow-wrap:break-word;border:0 solid {_LINE};border-bottom-width:1px}}
.kqlmi-rows.kqlmi-rows thead th{{vertical-align:bottom;font-weight:600;font-size:12px;opacity:.75;white-space:normal}}
.kqlmi-rows.kqlmi-rows .kqlmi-long{{overflow-wrap:anywhere;min-width:6em}}
.kqlmi-rows.kqlmi-rows code{{font:{_MONO};background:none;padding:0;white-space:pre-wrap}}
.kqlmi-rows summary{{cursor:pointer}}
.kqlmi-id{{display:grid;grid-template-columns:minmax(10ch,max-content);font:{_MONO};opacity:.85}}
.kqlmi-id>span{{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}}
.kqlmi-tag{{display:inline-block;border-radius:10px;padding:0 8px;margin:1px 0;font-size:12px;white-space:nowrap;\
--kqlmi-hue:var(--jp-brand-color1,#1976d2);background:color-mix(in srgb,var(--kqlmi-hue) 13%,transparent);\
color:color-mix(in srgb,var(--kqlmi-hue) 70%,var(--jp-ui-font-color0,CanvasText))}}
.kqlmi-tag.kqlmi-long{{white-space:normal}}
.kqlmi-tag.kqlmi-good{{--kqlmi-hue:var(--jp-success-color1,#2e7d32)}}
.kqlmi-tag.kqlmi-bad{{--kqlmi-hue:var(--jp-error-color1,#d32f2f)}}
.kqlmi-tag.kqlmi-warn{{--kqlmi-hue:var(--jp-warn-color1,#d07a00);\
color:color-mix(in srgb,var(--kqlmi-hue) 50%,var(--jp-ui-font-color0,CanvasText))}}
.kqlmi-tag.kqlmi-open{{--kqlmi-hue:rgb(128,128,128)}}
</style>"""


def table(rows: Rows) -> str:
    """Return rows as a table with headers for its columns, and every text in it escaped."""
    head = "".join(f'<th scope="col">{escape(printable(name)).replace("_", "_<wbr>")}</th>' for name in rows.columns)
    longest = _CHARACTERS // max(len(rows.columns), 1)
    body = "\n".join(f"<tr>{''.join(_cell(value, kind, longest) for value, kind in row)}</tr>" for row in rows.cells)
    note = f"<div>{escape(printable(rows.note))}</div>" if rows.note else ""
    return f'{_STYLE}<table class="kqlmi-rows"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}'


def _cell(value: object, kind: Kind, longest: int) -> str:
    if isinstance(kind, Mapping):
        return f"<td>{' '.join(_tag(text, mark) for text, mark in tags(value, kind))}</td>"
    text = cell(value)
    if kind == "id":
        whole = escape(text)
        return f'<td><span class="kqlmi-id"><span title="{whole}">{whole}</span></span></td>'
    if kind == "folded" and text and not (isinstance(value, list | tuple) and len(text) <= _SHORT):
        title = counted(len(value), "item") if isinstance(value, list | tuple) else f"{escape(text[:_TAG])}…"
        return f'<td class="kqlmi-long"><details><summary>{title}</summary>{escape(text)}</details></td>'
    if kind != "code" and max(map(len, text.split()), default=0) <= longest:
        return f"<td>{escape(text)}</td>"
    broken = "<wbr>".join(map(escape, _PLACES.split(text)))
    return f'<td class="kqlmi-long">{f"<code>{broken}</code>" if kind == "code" else broken}</td>'


def _tag(text: str, mark: Mark) -> str:
    long = " kqlmi-long" if len(text) > _TAG else ""
    return f'<span class="kqlmi-tag{_CLASSES.get(mark, "")}{long}">{escape(text)}</span>'
