"""The Python of the how-to pages about own networks and methods runs, on a small series."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import stemdist

DOCS = Path(__file__).resolve().parents[2] / "docs"


def python_blocks(page: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(autouse=True)
def small_series(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = stemdist.simulate("traffic-sim", days=4, n_sensors=12)
    series = stemdist.open_series(raw, variables=["speed"])
    monkeypatch.setattr(stemdist, "open_series", lambda name: series)
    return series


def test_an_own_network_forecasts_every_location(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = python_blocks("howto/own-network.md")
    exec(compile(block, "own-network.md", "exec", dont_inherit=True), {"__name__": "page"})
    assert "'location': 12" in capsys.readouterr().out


def test_own_windows_and_an_own_synthesizer(capsys: pytest.CaptureFixture[str]) -> None:
    (jitter,) = (block for block in python_blocks("plugins.md") if "class Jitter" in block)
    made: dict[str, Any] = {}
    for block in (jitter, *python_blocks("howto/own-method.md")):
        exec(compile(block, "own-method.md", "exec", dont_inherit=True), made)
    assert "selected windows + labels" in capsys.readouterr().out
    assert len(made["learned"].history_) == 3
