from dataclasses import replace

import pytest
import torch

from stemdist.distill import DistilledSet, DistillSettings, distill
from stemdist.distill.methods import METHODS
from stemdist.distill.pipeline import problem_of, starting_point
from stemdist.errors import InputError
from stemdist.forecast import TrainingSettings

WITH_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
OPTIONS = {
    "stemdist": {"steps": 2, "epochs": 1, "surrogate": "mlp", "surrogate_options": {}},
    "mtt": {"steps": 2, "trajectories": 1, "last_start": 1, "inner_steps": 3, "interval": 3},
    "dm": {"steps": 2},
    "idm": {"steps": 2},
    "rat-bptt": {"steps": 2, "inner_steps": 2, "longest": 3},
    "frepo": {"steps": 2, "final_iterations": 1},
    "moments": {},
    "kmeans": {},
}
LIKE = dict.fromkeys(("condtsf", "tesla", "datm", "timedc"), "mtt")
LIKE |= dict.fromkeys(("random", "k-center", "herding", "craig"), "kmeans") | {"default": "frepo"}


def settings_of(method: str, **changes) -> DistillSettings:
    """A few seconds of a method; experts are few, and judges train for a moment."""
    options = dict(OPTIONS[LIKE.get(method, method)])
    if options and method != "moments":
        options["iterations"] = 2
    return DistillSettings.of(
        method,
        time_ratio=0.1,
        space_ratio=0.3,
        experts=("linear", "mlp"),
        expert_training=TrainingSettings(updates=30, validate_every=15),
        expert_seeds=1,
        extra_experts=0,
        judging=TrainingSettings(updates=20),
        judge_seeds=1,
        synthesizer_options=options,
        **changes,
    )


def tensors_of(made: DistilledSet) -> list[torch.Tensor]:
    windows, graph = made.windows, made.cluster_graph
    return [windows.x, windows.y, windows.mask, windows.weight, windows.profile, graph.edge_index]


@WITH_CUDA
@pytest.mark.parametrize("method", METHODS)
def test_every_method_distils_on_a_gpu(task, tmp_path, method):
    settings = settings_of(method)
    made = distill(task, settings, work=tmp_path, device="cuda")
    errors = [row["validation"] for row in made.record["history"]]
    there = problem_of(task, settings, starting_point(task, settings))
    assert errors[0] == pytest.approx(there.score(there.start), rel=0.05)  # the start on the CPU
    assert all(error == error for error in errors)
    assert {part.device.type for part in tensors_of(made)} == {"cpu"}
    assert made.record["peak_device_bytes"] > 0
    again = distill(task, settings, work=tmp_path, device="cuda")  # all is done
    assert torch.equal(again.windows.x, made.windows.x)
    made.save(tmp_path / "made.nc")
    assert torch.equal(DistilledSet.load(tmp_path / "made.nc").windows.mask, made.windows.mask)


@WITH_CUDA
@pytest.mark.parametrize("change", [{"labels": "mixed"}, {"experts": ("mtgnn",)}])
@pytest.mark.parametrize("parametrisation", ["tensor", "spectral", "series"])
def test_every_parametrisation_is_learned_on_a_gpu(task, change, parametrisation):
    selection = "contiguous" if parametrisation == "series" else "kmeans"
    settings = replace(
        settings_of("default"), parametrisation=parametrisation, selection=selection, **change
    )
    made = distill(task, settings, device="cuda")
    assert len(made.record["history"]) > 1
    assert {part.device.type for part in tensors_of(made)} == {"cpu"}


@WITH_CUDA
@pytest.mark.parametrize("method", ["default", "mtt", "rat-bptt"])
def test_what_began_on_a_gpu_goes_on_on_the_cpu(task, tmp_path, monkeypatch, method):
    from stemdist.distill import synthesizer

    settings, save = settings_of(method), synthesizer.Synthesizer._save

    def stops(self, *args):
        save(self, *args)
        raise KeyboardInterrupt

    monkeypatch.setattr(synthesizer.Synthesizer, "_save", stops)
    with pytest.raises(KeyboardInterrupt):
        distill(task, settings, work=tmp_path, device="cuda")
    monkeypatch.setattr(synthesizer.Synthesizer, "_save", save)
    made = distill(task, settings, work=tmp_path)
    whole = distill(task, settings, device="cuda")
    found, wanted = ([row["validation"] for row in run.record["history"]] for run in (made, whole))
    assert found[:2] == pytest.approx(wanted[:2], rel=0.01)
    assert len(found) == len(wanted)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_not_there_is_refused_before_anything_is_done(task, quick, tmp_path):
    with pytest.raises(InputError, match="device 'cuda' is not available to this build of torch"):
        distill(task, quick, work=tmp_path / "work", device="cuda")
    assert not (tmp_path / "work").exists()


def test_the_same_windows_come_out_of_a_moved_problem(task, quick):
    problem = problem_of(task, quick, starting_point(task, quick))
    moved = problem.to("cpu")
    assert moved.device == torch.device("cpu")
    draws = [torch.Generator().manual_seed(3) for _ in range(2)]
    one, other = (
        each.real_batch(4, 3, draw) for each, draw in zip((problem, moved), draws, strict=True)
    )
    assert torch.equal(one[0].y, other[0].y)
    assert torch.equal(one[1].edge_index, other[1].edge_index)
    assert moved.score(moved.start) == problem.score(problem.start)
    index = torch.tensor([5, 1])
    assert all(map(torch.equal, moved.real.batch(index), problem.real.batch(index)))
