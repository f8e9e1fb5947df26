"""How much each location is read in a learned graph, by hand and in a comparison."""

import dataclasses
import html

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from stemdist.evaluate import evaluate, report_evaluation
from stemdist.evaluate.comparison.influence import influence
from stemdist.forecast import Forecaster, fresh_forecaster


class Reader(Forecaster):
    """Location 0 reads itself and 1, 1 reads 2, 2 reads 1."""

    weights = torch.tensor([0.4, 0.6, 1.0, 1.0])

    def forward(self, x, graph, profile):
        raise NotImplementedError

    def learned_edges(self, profile):
        return torch.tensor([[0, 1, 2, 1], [0, 0, 1, 2]]), self.weights


class Alone(Reader):
    weights = torch.tensor([0.4, 0.0, 0.0, 0.0])


def test_influence_by_hand():
    reader = Reader(lookback=2, horizon=1, n_features=1)
    # 1 is read with .6 + 1, 2 with 1, 0 by itself alone; the mean is 2.6 / 3
    expected = torch.tensor([0.0, 1.6, 1.0]) * 3 / 2.6
    torch.testing.assert_close(influence(reader, torch.zeros(3, 2)), expected)
    alone = Alone(lookback=2, horizon=1, n_features=1)
    assert influence(alone, torch.zeros(3, 2)).tolist() == [0, 0, 0]


@pytest.fixture(scope="module")
def compared(distilled, task, small, tmp_path_factory):
    settings = dataclasses.replace(
        small,
        forecasters=("linear", "mtgnn"),
        references=("full", "distilled"),
        learning_rates=(5e-3,),
        options={"mtgnn": {"neighbours": 3, "layers": 1}},
    )
    folder = tmp_path_factory.mktemp("influence")
    return evaluate(distilled, task, settings, results=folder), settings, folder


def test_a_comparison_tells_the_influence_of_what_learns_graphs(compared, task):
    found, settings, folder = compared
    rows = found.by_location.query("forecaster == 'mtgnn'")
    groups = rows.groupby(["method", "seed"])["influence"]
    assert groups.mean().tolist() == pytest.approx([1.0] * 4)
    assert rows["influence"].min() >= 0
    assert found.by_location.query("forecaster != 'mtgnn'")["influence"].isna().all()
    # the stored weights give the same
    stored = [load_file(path) for path in (folder / "runs").glob("*.safetensors")]
    mine = []
    for weights in (weights for weights in stored if "start.weight" in weights):
        forecaster = fresh_forecaster("mtgnn", task.train, 0, settings.options["mtgnn"])
        forecaster.load_state_dict(weights)
        mine.append(influence(forecaster, task.train.profile).tolist())
    assert sorted(mine) == sorted(own.tolist() for _, own in groups)


def test_a_comparison_without_learned_graphs_has_no_influence(evaluation):
    assert "influence" not in evaluation.by_location


def test_the_report_shows_what_was_learned(compared, distilled, task, tmp_path):
    found, *_ = compared
    maps = {
        method: own["influence"].to_numpy().reshape(2, -1).mean(0)
        for method, own in found.by_location.query("forecaster == 'mtgnn'").groupby("method")
    }
    same = np.corrcoef(maps["full"], maps["distilled"])[0, 1]
    page = report_evaluation(tmp_path / "r.html", found, distilled=distilled, task=task)
    text = html.unescape(page.read_text(encoding="utf-8"))
    assert text.count("Map of the influence of each location on others") == 2
    assert "mtgnn trained on full data: its learned graph, mean over seeds." in text
    assert f"correlation with the graph learned from full data {same:.2f}." in text
    assert "linear trained on distilled: its learned graph" not in text
    nobody = dataclasses.replace(found, by_location=found.by_location.assign(influence=0.0))
    page = report_evaluation(tmp_path / "n.html", nobody, distilled=distilled, task=task)
    assert "learned from full data not defined." in page.read_text(encoding="utf-8")


def test_another_read_gives_the_same(compared, distilled, task):
    found, settings, folder = compared
    again = evaluate(distilled, task, settings, results=folder)
    np.testing.assert_array_equal(again.by_location["influence"], found.by_location["influence"])
