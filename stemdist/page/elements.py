"""The elements of a page, and its rendering to one self-contained HTML file."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from stemdist.errors import MissingDependencyError
from stemdist.files import atomic_path
from stemdist.page.dark import darken

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Text

Rows = list[list[str]]
"""Cells of a table; the first row is its header."""
SCREEN_DPI = 100
SHARPNESS = 1.5
"""Pixels of a figure per pixel of the page, for high-resolution screens."""

_NUMBER = re.compile(r"-?\d[\d,]*(\.\d+)?(e[+-]?\d+)?")
_SIZE = re.compile(r"([\d.]+) ?x ?([\d.]+)")
KINDS = {"*": "best", "!": "worse"}
"""Kinds of cells by the mark at their end."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of a table: its text, and the number by which it is sorted."""

    text: str
    sort: float | None
    kind: str

    @classmethod
    def of(cls, text: str) -> Cell:
        """Read the text of a table's cell.

        Examples
        --------
        >>> Cell.of("0.50 +- 0.02*")
        Cell(text='0.50 ± 0.02*', sort=0.5, kind='best')
        >>> Cell.of("0.1x0.05").sort, Cell.of("1,200 windows").sort, Cell.of("never").sort
        (0.005, 1200.0, None)
        """
        text = text.strip().replace(" +- ", " ± ")
        sort = None
        if size := _SIZE.fullmatch(text):
            sort = round(float(size[1]) * float(size[2]), 12)
        elif number := _NUMBER.match(text):
            sort = float(number[0].replace(",", ""))
        return cls(text=text, sort=sort, kind=KINDS.get(text[-1:], ""))


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """Some sentences; ``failed`` highlights them as an error."""

    kind: ClassVar[str] = "paragraph"
    text: str
    failed: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose first row is its header; the first column names its rows.

    The columns ``sentences`` have text instead of numbers and may wrap.
    """

    kind: ClassVar[str] = "table"
    caption: str
    rows: Rows
    sentences: Sequence[str] = ()

    @property
    def header(self) -> list[str]:
        """Names of the columns."""
        return self.rows[0]

    @property
    def body(self) -> list[list[Cell]]:
        """Cells of the other rows."""
        return [
            [
                Cell(text=text, sort=None, kind="text") if name in self.sentences else Cell.of(text)
                for name, text in zip(self.header, row, strict=True)
            ]
            for row in self.rows[1:]
        ]


@dataclass(frozen=True, kw_only=True)
class Image:
    """A figure, drawn when it is written.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What is shown.
    alt : str
        Text alternative, for screen readers.
    caption : str
        The sentence below it.
    wide : bool
        Use the whole width of the page.
    """

    figure: Figure
    alt: str
    caption: str
    wide: bool = False

    @property
    def width(self) -> int:
        """Width in pixels of the page."""
        return round(self.figure.get_figwidth() * SCREEN_DPI)

    @property
    def height(self) -> int:
        """Height in pixels of the page."""
        return round(self.figure.get_figheight() * SCREEN_DPI)

    @cached_property
    def pictures(self) -> tuple[str, str]:
        """The figure on light and on dark paper, as PNG in base 64."""
        for label in _labels(self.figure):
            label.set_parse_math(False)  # a $ in the name of a variable is literal
        light = _png(self.figure)
        darken(self.figure)
        return light, _png(self.figure)


@dataclass(frozen=True, kw_only=True)
class Images:
    """Figures side by side where the page is wide enough."""

    kind: ClassVar[str] = "figures"
    figures: Sequence[Image]


@dataclass(frozen=True, kw_only=True)
class Details:
    """A table, or plain text, that is shown on demand."""

    kind: ClassVar[str] = "details"
    title: str
    table: Table | None = None
    text: str = ""

    @classmethod
    def json(cls, title: str, content: Any) -> Details:
        """Return JSON types as indented text."""
        return cls(title=title, text=json.dumps(content, indent=2, ensure_ascii=False, default=str))


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Markup of a library that draws itself, which is written as it is.

    Parameters
    ----------
    html : str
        Trusted: nothing in it is escaped.
    alt : str
        Text alternative, for screen readers.
    """

    kind: ClassVar[str] = "drawing"
    html: str
    alt: str


Part = Paragraph | Table | Images | Details | Drawing


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and its parts."""

    title: str
    parts: Sequence[Part]


@dataclass(frozen=True, kw_only=True)
class Page:
    """A whole page.

    Parameters
    ----------
    title : str
        Its heading.
    verdict : str
        What was found, in one sentence, at the top; empty if nothing can be said.
    lines : sequence of str
        What it is about, below.
    sections : sequence of Section
        The rest.
    """

    title: str
    lines: Sequence[str]
    sections: Sequence[Section]
    verdict: str = ""

    def write(self, path: str | Path) -> Path:
        """Write the page as one HTML file, atomically.

        Raises
        ------
        OutputError
            If it cannot be written; an existing file is left unchanged.
        """
        html = self.html()
        with atomic_path(path) as part:
            part.write_text(html, encoding="utf-8")
        return Path(path)

    def html(self) -> str:
        """Return the page as HTML; text from data is escaped."""
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup

        environment = Environment(
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        style, script, template = map(_own_file, ("style.css", "page.js", "page.html.jinja"))
        return environment.from_string(template).render(
            page=self, style=Markup(style), script=Markup(script)
        )


def check_installed() -> None:
    """Raise before any work is done if a library of the extra ``report`` is missing.

    Raises
    ------
    MissingDependencyError
        If matplotlib or jinja2 is not installed.
    """
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            'the report needs matplotlib and jinja2: pip install "stemdist[report]"'
        ) from error


def _png(figure: Figure) -> str:
    content = BytesIO()
    figure.savefig(content, format="png", dpi=SCREEN_DPI * SHARPNESS, metadata={"Software": None})
    return base64.b64encode(content.getvalue()).decode("ascii")


def _own_file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _labels(figure: Figure) -> Iterator[Text]:
    """Yield the texts of a figure that may contain names, without tick labels."""
    for axes in figure.axes:
        yield from (axes.xaxis.label, axes.yaxis.label, axes.title)
        if legend := axes.get_legend():
            yield from legend.get_texts()
    for legend in figure.legends:
        yield from legend.get_texts()
