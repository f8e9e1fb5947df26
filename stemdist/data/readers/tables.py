"""Tables in text, Parquet and Feather files: wide or long, any of the usual separators."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TextIO

import pandas as pd
import xarray as xr

from stemdist.data.readers.base import Reader, ReaderOptions, first_bytes
from stemdist.data.readers.table_layout import check_header, table_dataset
from stemdist.dependencies import require
from stemdist.errors import InputError

_TEXT_SUFFIXES = (".csv", ".tsv", ".txt")
_SEPARATORS = (";", "\t", "|", ",")
_COLUMN_OPTIONS = frozenset({"start", "step_minutes", "feature_names", "columns"})


class CsvReader(Reader):
    """Text table: commas, semicolons, tabs or bars between cells; possibly compressed (.gz).

    Wide tables have a header line, one row per time step and one column per sensor; long ones a
    row per time and sensor (see :mod:`~stemdist.data.readers.table_layout`). Decimal commas are
    understood where the separator is no comma. A table of numbers alone, without a header (MTGNN
    and LSTNet), numbers its sensors from 0. Without a time column (Los-loop) the options ``start``
    and ``step_minutes`` make the time axis.
    """

    name: ClassVar[str] = "csv"
    description: ClassVar[str] = (
        "text table, time x sensor or time, sensor, value (.csv, .tsv, .txt, also .gz)"
    )
    accepts: ClassVar[frozenset[str]] = _COLUMN_OPTIONS

    def matches(self, path: Path) -> bool:
        """Recognise the suffix."""
        name = path.name.lower().removesuffix(".gz")
        return path.is_file() and name.endswith(_TEXT_SUFFIXES)

    def _open(self, path: Path, options: ReaderOptions) -> xr.Dataset:
        return table_dataset(path, _read_text(path), options)


class ParquetReader(Reader):
    """Table in a Parquet or Feather file through ``pyarrow``; laid out as a text table may be."""

    name: ClassVar[str] = "parquet"
    description: ClassVar[str] = "Parquet or Feather table (.parquet, .feather)"
    accepts: ClassVar[frozenset[str]] = _COLUMN_OPTIONS

    def matches(self, path: Path) -> bool:
        """Recognise the first bytes, or the suffix."""
        if not path.is_file():
            return False
        suffixes = (".parquet", ".pq", ".feather", ".arrow")
        return path.suffix.lower() in suffixes or first_bytes(path, 4) in (b"PAR1", b"ARRO")

    def _open(self, path: Path, options: ReaderOptions) -> xr.Dataset:
        require("pyarrow", "parquet", f"opening the table {str(path)!r}")
        read = pd.read_parquet if first_bytes(path, 4) == b"PAR1" else pd.read_feather
        try:
            table = read(path)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                f"{str(path)!r} is damaged, or no Parquet or Feather table ({error}): download or "
                "write it again"
            ) from error
        if not isinstance(table.index, pd.RangeIndex):  # as pandas writes a frame over times
            table = table.reset_index(names=table.index.names[0] or "time")
        if table.empty:
            raise InputError(f"{str(path)!r} has no rows")
        table.columns = pd.Index([str(name) for name in table.columns])
        check_header(path, list(table.columns))
        return table_dataset(path, table, options)


@dataclass(frozen=True, kw_only=True)
class _Dialect:
    """How a text table is written."""

    separator: str
    decimal: str
    header: bool


def _read_text(path: Path) -> pd.DataFrame:
    """Return all cells, columns named as in the header, after checking that rows are even."""
    try:
        dialect = _dialect(path)
        header = _check_rows(path, dialect)
        with _text(path) as stream:
            table = pd.read_csv(
                stream,
                header=0 if dialect.header else None,
                index_col=False,
                low_memory=False,
                sep=dialect.separator,
                decimal=dialect.decimal,
            )
    except UnicodeDecodeError as error:
        raise InputError(
            f"{str(path)!r} is not UTF-8 text ({error.reason} at byte {error.start}): save it as "
            "UTF-8, or say what it is with --reader"
        ) from error
    except (csv.Error, pd.errors.ParserError, EOFError, gzip.BadGzipFile) as error:
        raise InputError(f"{str(path)!r} is not a text table: {error}") from error
    table.columns = pd.Index(header)
    return table


@contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    if first_bytes(path, 2) == b"\x1f\x8b":
        with gzip.open(path) as stream:
            yield io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    else:
        with path.open(encoding="utf-8-sig", newline="") as plain:
            yield plain


def _dialect(path: Path) -> _Dialect:
    """Look at the first two lines that are not empty."""
    with _text(path) as stream:
        lines = [line for line in (stream.readline() for _ in range(8)) if line.strip()][:2]
    if not lines:
        raise InputError(f"{str(path)!r} holds no text: download or write it again")
    separator = next((mark for mark in _SEPARATORS if mark in lines[0]), ",")
    first, second = (next(csv.reader([line], delimiter=separator)) for line in (lines * 2)[:2])
    decimal = "." if separator == "," or not any(_is_decimal_comma(c) for c in second) else ","
    # Numbers in the first line are sensor names if they are whole and differ, in a .csv file.
    numbers = all(_is_number(cell, decimal) for cell in first)
    names = all(cell.strip().isdecimal() for cell in first) and len(set(first)) == len(first)
    text_file = path.name.lower().removesuffix(".gz").endswith(".txt")
    return _Dialect(
        separator=separator,
        decimal=decimal,
        header=not numbers or (names and not text_file),
    )


def _check_rows(path: Path, dialect: _Dialect) -> list[str]:
    """Return the header; refuse uneven rows, which pandas would pad with missing values."""
    with _text(path) as stream:
        lines = csv.reader(stream, delimiter=dialect.separator)
        header = [name.strip() for name in next(filter(None, lines), [])]
        count = 0
        if not dialect.header:
            header, count = [str(number) for number in range(len(header))], 1
        check_header(path, header)
        for row in filter(None, lines):
            count += 1
            if len(row) != len(header):
                raise InputError(
                    f"line {lines.line_num} of {str(path)!r} has {len(row)} cells, the header has "
                    f"{len(header)}: give every row the same number of cells"
                )
    if count == 0:
        raise InputError(f"{str(path)!r} has a header but no rows")
    return header


def _is_decimal_comma(cell: str) -> bool:
    whole, comma, fraction = cell.strip().partition(",")
    return bool(comma) and whole.lstrip("-").isdigit() and fraction.isdigit()


def _is_number(text: str, decimal: str) -> bool:
    try:
        float(text.replace(decimal, "."))
    except ValueError:
        return False
    return True
