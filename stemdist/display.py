"""How objects show themselves: a few lines of text, and HTML in a notebook."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

Fields = Sequence[tuple[str, str]]

_STYLE = (
    "<style>.stemdist td, .stemdist th {text-align: left; vertical-align: top; "
    "padding: 0.1em 0.8em 0.1em 0} .stemdist summary {cursor: pointer}</style>"
)
_WIDTH, _HEIGHT = 160, 90


class Shown(ABC):
    """An object that shows itself by :meth:`fields`; a subclass that is a dataclass has no repr."""

    @abstractmethod
    def fields(self) -> Fields:
        """Return names and values to show, as text."""

    def details(self) -> Mapping[str, Any]:
        """Return what HTML hides until it is asked for, by heading; JSON types or text."""
        return {}

    def picture(self) -> str:
        """Return an SVG to show beside the fields, or nothing."""
        return ""

    def __repr__(self) -> str:
        return text_of(type(self).__name__, self.fields())

    def _repr_html_(self) -> str:
        return html_of(type(self).__name__, self.fields(), self.details(), self.picture())


def text_of(title: str, fields: Fields) -> str:
    """Return fields as aligned lines below a title.

    Examples
    --------
    >>> print(text_of("DistilledSet", [("windows", "12"), ("of", "taxi.nc")]))
    <stemdist.DistilledSet>
      windows  12
      of       taxi.nc
    """
    width = max((len(name) for name, _ in fields), default=0)
    lines = [f"  {name:{width}}  {value}" for name, value in fields]
    return "\n".join([f"<stemdist.{title}>", *lines])


def html_of(title: str, fields: Fields, details: Mapping[str, Any], picture: str = "") -> str:
    """Return fields as a table of HTML, with collapsed details below.

    Parameters
    ----------
    title : str
        Name of the class.
    fields : sequence of (str, str)
        Names and values; escaped.
    details : mapping
        Content by heading: text as it is, anything else as JSON.
    picture : str
        SVG beside the table.

    Examples
    --------
    >>> "<td>a &lt; b</td>" in html_of("DistilledSet", [("name", "a < b")], {})
    True
    """
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in fields
    )
    body = f'<div style="display: flex; gap: 2em"><table>{rows}</table>{picture}</div>'
    return _block(title, body, details)


def table_html(
    title: str, rows: Sequence[Sequence[str]], sentence: str, details: Mapping[str, Any]
) -> str:
    """Return a sentence and a table, the names of its columns first, with collapsed details.

    Examples
    --------
    >>> html = table_html("Evaluation", [["method", "mlp"], ["full", "0.5"]], "It is fine.", {})
    >>> "<th>mlp</th>" in html, "<td>0.5</td>" in html
    (True, True)
    """
    lines = "".join(
        "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) + "</tr>"
        for row, tag in zip(rows, ["th", *["td"] * len(rows)], strict=False)
    )
    return _block(title, f"<p>{escape(sentence)}</p><table>{lines}</table>", details)


def share_picture(time_share: float, space_share: float) -> str:
    """Return an SVG of a rectangle of time and space, with a share of it filled.

    Examples
    --------
    >>> share_picture(0.1, 0.5).count("<rect")
    2
    """
    width, height = max(1.0, _WIDTH * time_share), max(1.0, _HEIGHT * space_share)
    label = f"{100 * time_share:.3g} % of the windows, {100 * space_share:.3g} % of the locations"
    outer = f'width="{_WIDTH}" height="{_HEIGHT}" fill="currentColor" fill-opacity="0.15"'
    inner = f'width="{width:.1f}" height="{height:.1f}" fill="#1f77b4"'
    return (
        f'<svg role="img" aria-label="{label}" width="{_WIDTH}" height="{_HEIGHT}">'
        f"<title>{label}</title><rect {outer}/><rect {inner}/></svg>"
    )


def share_text(share: float) -> str:
    """Return a share as per cent.

    Examples
    --------
    >>> share_text(0.0123), share_text(0.0)
    ('1.23 %', '0 %')
    """
    return f"{100 * share:.3g} %"


def _block(title: str, body: str, details: Mapping[str, Any]) -> str:
    hidden = "".join(
        f"<details><summary>{escape(name)}</summary><pre>{escape(_text(content))}</pre></details>"
        for name, content in details.items()
    )
    return f'{_STYLE}<div class="stemdist"><b>stemdist.{escape(title)}</b>{body}{hidden}</div>'


def _text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, indent=1, default=str)
