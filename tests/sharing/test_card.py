"""The card says what the set records, and nothing else."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from huggingface_hub import DatasetCard, DatasetCardData

from stemdist.cli import main
from stemdist.errors import InputError
from stemdist.sharing import Quality, card_of
from stemdist.sharing.card import front_matter


def body_of(text):
    return DatasetCard(text).text


def row_of(text, name):
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
    return line.split(" | ")[1].removesuffix(" |")


def test_the_front_matter_is_that_of_a_dataset_card(tiny):
    card = DatasetCard(card_of(tiny, "tiny.nc"))
    assert isinstance(card.data, DatasetCardData)
    assert card.data.license == "cc0-1.0"
    assert card.data.task_categories == ["time-series-forecasting"]
    assert card.data.size_categories == ["n<1K"]
    assert card.data.pretty_name == "Simulated weather (weather-sim), distilled"
    known = set(vars(DatasetCardData())) | {"viewer", "tags", "license_name"}
    assert set(front_matter(tiny)) <= known


def test_the_source_is_that_of_the_record(tiny):
    text = body_of(card_of(tiny, "tiny.nc"))
    assert row_of(text, "licence of the source") == "CC0-1.0"
    assert row_of(text, "content hash") == tiny.record["content_hash"]
    assert row_of(text, "windows").startswith(f"{tiny.n_windows} of ")
    assert row_of(text, "clusters") == f"{tiny.n_clusters} of 16 locations"
    assert row_of(text, "windows learned by") == "nothing: they are real windows"
    assert row_of(text, "soft labels of") == "none"
    assert row_of(text, "time step") == "3600 seconds"


def test_what_is_not_recorded_is_unknown(tiny):
    text = card_of(replace(tiny, record={}), "tiny.nc")
    assert DatasetCard(text).data.license == "unknown"
    for name in ("made from", "title", "licence of the source", "citation", "content hash",
                 "random seed", "validation error", "made in", "windows learned by"):  # fmt: skip
        assert row_of(text, name) == "unknown"
    assert "No licence was recorded" in text
    assert "Unknown: this card was made without an evaluation" in text
    assert "--evaluation evaluation" in text


def test_a_licence_the_hub_does_not_list_is_named(tiny):
    data = front_matter(replace(tiny, record={"license": "see  source"}))
    assert (data["license"], data["license_name"]) == ("other", "see source")
    text = card_of(replace(tiny, record={"License": "CC-BY-ND-4.0"}), "tiny.nc")
    assert DatasetCard(text).data.license == "cc-by-nd-4.0"
    assert "needs the owner's consent" in text


def test_foreign_texts_cannot_write_the_card(tiny):
    title = "a\n---\nlicense: mit\n# x | <script>alert(1)</script> [a](http://b)"
    text = card_of(replace(tiny, record={"title": title, "license": "CC0-1.0"}), "tiny.nc")
    card = DatasetCard(text)
    assert card.data.license == "cc0-1.0"
    assert "<script>" not in card.text
    assert "\n# x" not in card.text
    assert r"\[a\](http://b)" in card.text  # a backslash before a bracket makes no link


def test_what_was_measured(shared, tiny):
    quality = Quality.read(shared / "tiny.evaluation", tiny)
    text = card_of(tiny, "tiny.nc", quality=quality)
    table = quality.evaluation.table
    own, full = (
        table[(table["method"] == name) & (table["forecaster"] == "linear")]
        for name in ("distilled", "full")
    )
    ratios = own["relative_rmse"].to_numpy() / full["relative_rmse"].to_numpy() - 1
    error = own["relative_rmse"].mean()
    assert f"| distilled | linear | {error:.4f} | {100 * ratios.mean():+.1f} % |" in text
    scores = json.loads((shared / "tiny.evaluation/ranking.json").read_text())["scores"]
    assert f"| distilled | {scores['distilled']['spearman']:.2f} |" in text
    assert "The distilled set orders 3 configurations" in text


def test_results_of_another_set_are_refused(shared, tiny, tmp_path):
    other = replace(tiny, windows=replace(tiny.windows, y=tiny.windows.y + 1))
    with pytest.raises(InputError, match=r"all\.json' is of another distilled set"):
        Quality.read(shared / "tiny.evaluation", other)
    with pytest.raises(InputError, match="there is no evaluation"):
        Quality.read(tmp_path, tiny)

    folder = shutil.copytree(shared / "tiny.evaluation", tmp_path / "e")
    ranking = json.loads((folder / "ranking.json").read_text())
    (folder / "ranking.json").write_text(json.dumps({**ranking, "distilled_hash": "0" * 64}))
    with pytest.raises(InputError, match=r"ranking\.json' is of another distilled set"):
        Quality.read(folder, tiny)
    (folder / "all.json").write_text('{"facts": {}}')
    with pytest.raises(InputError, match="is not the all"):
        Quality.read(folder, tiny)


def test_the_python_in_the_card_runs(shared, tiny, monkeypatch, capsys):
    monkeypatch.chdir(shared)
    blocks = card_of(tiny, "tiny.nc").split("```python\n")[1:]
    for block in blocks:
        exec(compile(block.partition("```")[0].replace('"mlp"', '"mlp", updates=2'), "c", "exec"))
    assert "('window', 'lookback', 'cluster', 'feature')" in capsys.readouterr().out


def test_the_command(shared, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = ["card", str(shared / "tiny.nc"), "--evaluation", str(shared / "tiny.evaluation")]
    assert main(line) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("---\nlicense: cc0-1.0\n")
    assert main([*line, "-o", "README.md"]) == 0
    assert (tmp_path / "README.md").read_text() == printed
    assert main([*line, "-o", "README.md"]) == 0  # its own card is replaced
    (tmp_path / "README.md").write_text("mine")
    assert main([*line, "-o", "README.md"]) == 2
    assert (tmp_path / "README.md").read_text() == "mine"
    assert main([*line, "-o", "card.txt"]) == 2
