"""Teaching: every method learns from every term, the teacher matters, killed runs go on."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from stemdist.errors import InputError
from stemdist.forecast import FittedForecaster, TrainingSet, fresh_forecaster
from stemdist.forecast import train as train_module
from stemdist.forecast.batches import batch_index
from stemdist.forecast.objective import ForecastLoss, Update
from stemdist.students import (
    METHODS,
    ForecasterTeacher,
    OnlineOutputs,
    Places,
    StudentSettings,
    TeachingObjective,
    Term,
    find_teacher,
    teach,
)
from stemdist.students.objective import horizon_weights, shortest_combination, steps_last
from stemdist.students.projections import PROJECTIONS
from stemdist.students.teacher import load_teacher
from stemdist.students.teaching import _objective


def update_of(data: TrainingSet, count: int = 4) -> Update:
    index = torch.arange(count)
    x, y, mask = data.source.batch(index)
    weight = data.source.location_weight
    return Update(x, y, mask, data.graph, data.source.profile, weight, index, None)


def objective_of(data, teachers, settings, student=None):
    student = student or fresh_forecaster(
        settings.student, data.source, 0, settings.student_options
    )
    kinds = sorted({t.teacher_state for t in settings.active_terms} - {None})
    outputs = [OnlineOutputs(teacher, data, kinds) for teacher in teachers]
    return student, _objective(student, data, settings, outputs)


def gradient(loss, module):
    found = torch.autograd.grad(
        loss, list(module.parameters()), allow_unused=True, retain_graph=True
    )
    return torch.cat([part.flatten() for part in found if part is not None])


@pytest.mark.parametrize("method", METHODS)
def test_every_term_of_every_method_teaches(method, data, task, make_teacher, quick):
    settings = quick(method)
    names = settings.teachers or (("gru",) if settings.terms else ())
    teachers = [make_teacher(name, **settings.teacher_options) for name in names]
    student, objective = objective_of(data, teachers, settings)
    student.train()
    with torch.no_grad():  # a forecast that starts flat has no spectrum, and there no slope
        for weight in student.parameters():
            weight += 0.01 * torch.randn(weight.shape)
    terms = objective(student, update_of(data))
    assert set(terms) == {"observed", *(term.label for term in settings.terms)}
    for name, value in terms.items():
        assert value.item() > 0, name
        assert gradient(value, student).abs().max() > 0, name
    for aligner in (a for each in objective.of_teachers for a in each):
        if list(aligner.parameters()):
            assert gradient(terms[aligner.term.label], aligner).abs().max() > 0
    fitted = teach(data, teachers, settings, validation=task)
    assert fitted.record["updates"] == settings.training.updates
    last = fitted.record["history"][-1]
    logged = [value for key, value in last.items() if key.startswith("loss_")]
    if settings.terms:
        assert last["train_loss"] == pytest.approx(math.fsum(logged))


def test_a_student_is_an_ordinary_forecaster(data, task, make_teacher, quick, tmp_path):
    student = teach(data, [make_teacher()], quick("hints"), validation=task)
    again = FittedForecaster.load(student.save(tmp_path / "student"))
    assert again.record["teachers"] == ["gru"]
    one, other = (each.predict(task.series) for each in (student, again))
    assert one.dims == ("init_time", "horizon", "lat", "lon")
    assert one.equals(other)


# --- DistilTS: six tests that the public code fails ----------------


def test_tau_changes_the_loss_and_weighs_later_steps_more(data, make_teacher):
    losses = {}
    for tau in (0.0, 1.0):
        settings = StudentSettings.of("distilts", terms=(Term(horizon_tau=tau),))
        student, objective = objective_of(data, [make_teacher("patchtst")], settings)
        losses[tau] = objective(student, update_of(data))["forecast-values"].item()
    rows, _ = make_teacher("patchtst").answer(data, torch.arange(4))
    update = update_of(data)
    errors = (student(update.x, update.graph, update.profile) - rows) ** 2  # (B, L_out, N)
    by_step = errors.mean((0, 2)).detach()
    assert losses[0.0] == pytest.approx(by_step.mean().item(), rel=1e-5)
    grown = torch.exp(torch.arange(12) / 11)
    expected = (by_step * grown / grown.mean()).mean().item()
    assert losses[1.0] == pytest.approx(expected, rel=1e-5)
    assert losses[1.0] != pytest.approx(losses[0.0], rel=1e-3)


def test_aligner_weights_move_and_are_checkpointed(data, task, make_teacher, quick, tmp_path):
    seen = []
    finish = train_module._Run.finish

    def watched(self):
        seen.append(self)
        return finish(self)

    checkpoint, teacher = tmp_path / "training.pt", make_teacher("patchtst")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_module._Run, "finish", watched)
        teach(
            data,
            [teacher],
            quick("distilts"),
            validation=task,
            places=Places(checkpoint=checkpoint),
        )
    trained = seen[0].objective.state_dict()
    _, fresh = objective_of(data, [teacher], quick("distilts"))
    stored = torch.load(checkpoint, weights_only=True)["objective"]
    names = [name for name in fresh.state_dict() if ".project." in name]
    assert len(names) == 3  # the maps in and out, and one vector for each token
    for name in names:
        assert not torch.equal(trained[name], fresh.state_dict()[name]), name
        assert torch.equal(trained[name], stored[name]), name


def test_the_logged_loss_is_the_one_that_is_minimised(data, make_teacher, quick):
    settings = quick("distilts", observed_weight=0.5)
    settings = replace(settings, training=replace(settings.training, updates=1, validate_every=1))
    student, objective = objective_of(data, [make_teacher("patchtst")], settings)
    before = [weight.detach().clone() for weight in student.parameters()]
    result = train_module.train_forecaster(
        student, data.source, data.graph, settings.training, objective=objective
    )
    row = result.history.iloc[0]
    first, again = objective_of(data, [make_teacher("patchtst")], settings)
    for weight, start in zip(first.parameters(), before, strict=True):
        assert torch.equal(weight, start)
    index = batch_index(len(data.source), 4, 0, seed=0)
    x, y, mask = data.source.batch(index)
    weight = data.source.location_weight
    terms = again(first, Update(x, y, mask, data.graph, data.source.profile, weight, index, None))
    assert row["train_loss"] == pytest.approx(sum(terms.values()).item(), rel=1e-5)
    for name, term in terms.items():
        assert row[f"loss_{name}"] == pytest.approx(term.item(), rel=1e-5)


def test_the_teacher_changes_the_gradient_and_two_differ_from_one(data, make_teacher, quick):
    settings = quick("distilts", terms=(Term(horizon_tau=1.0),))
    teachers = [make_teacher("patchtst", seed) for seed in (0, 1)]
    slopes = []
    for chosen in ([teachers[0]], [teachers[1]], teachers):
        student, objective = objective_of(data, chosen, settings)
        loss = sum(objective(student, update_of(data)).values())
        slopes.append(gradient(loss, student))
    one, other, both = slopes
    assert not torch.allclose(one, other, rtol=1e-3)
    assert not torch.allclose(both, one, rtol=1e-3)
    torch.testing.assert_close(both, (one + other) / 2, atol=1e-5, rtol=1e-4)


def test_vectors_of_tokens_start_with_length_one():
    torch.manual_seed(0)
    made = PROJECTIONS["factorised"](torch.Size((3, 8)), torch.Size((3, 40, 5)))
    lengths = made.tokens.norm(dim=1)
    assert lengths.mean().item() == pytest.approx(1, abs=0.02)  # 256 columns: 1 +- 1 / sqrt(512)


# --- TimeDistill ---------------------------------------------------


def test_the_spectrum_term_is_a_mean_over_frequencies(data, make_teacher):
    settings = StudentSettings.of("timedistill", terms=(Term(view="spectrum", loss="kl"),))
    student, objective = objective_of(data, [make_teacher()], settings)
    update = update_of(data)
    with torch.no_grad():
        rows = student(update.x, update.graph, update.profile)
        found = objective(student, update)["forecast-spectrum"].item()
    shares = [
        functional.softmax(torch.fft.rfft(each, dim=1).abs()[:, 1:] / 0.5, dim=1) + 1e-8
        for each in (rows, make_teacher().answer(data, update.windows)[0])
    ]  # (B, 6, N)
    expected = functional.kl_div(shares[0].log(), shares[1], reduction="none").mean()
    assert found == pytest.approx(expected.item(), rel=1e-3)


@pytest.mark.parametrize("weight", [0.5, 1.0, 3.0])
def test_two_squared_errors_are_one_of_mixed_targets(weight, data, make_teacher):
    """TimeDistill (KDD 2026), section 4.4: distillation as mixup of targets and forecasts."""
    settings = StudentSettings.of("soft-labels", terms=(Term(weight=weight),))
    student, objective = objective_of(data, [make_teacher()], settings)
    update = update_of(data)
    update = update._replace(mask=torch.ones_like(update.mask))
    both = gradient(sum(objective(student, update).values()), student)
    forecast, _ = make_teacher().answer(data, update.windows)
    share = 1 / (1 + weight)  # of the observed targets
    mixed = share * update.y + (1 - share) * forecast
    rows = student(update.x, update.graph, update.profile)
    one = gradient((1 + weight) * functional.mse_loss(rows, mixed), student)
    torch.testing.assert_close(both, one, atol=1e-6, rtol=1e-4)


# --- how much of a teacher is taken --------------------------------


class Wrong(ForecasterTeacher):
    """Forecasts the opposite of what a forecaster forecasts, far away."""

    def answer(self, data, index, kinds=()):
        rows, states = super().answer(data, index, kinds)
        return 9 - rows, states


def test_a_teacher_that_harms_is_not_taken(data, task, make_teacher, quick):
    wrong = Wrong(make_teacher().fitted)
    settings = quick("soft-labels", teacher_weight=(0, 0.5, 2))
    student = teach(data, [wrong], settings, validation=task)
    tried = {each["teacher_weight"]: each for each in student.record["teacher_weight_errors"]}
    errors = [tried[weight]["validation_error"] for weight in (0, 0.5, 2)]
    assert errors == sorted(errors)
    assert student.record["teacher_weight"] == 0
    assert student.record["validation_error"] == errors[0]
    alone = teach(data, [], quick("undistilled"), validation=task)
    for one, other in zip(
        student.forecaster.parameters(), alone.forecaster.parameters(), strict=True
    ):
        assert torch.equal(one, other)


def test_the_weight_with_the_lowest_error_is_taken(data, task, make_teacher, quick):
    weights = (0.0, 0.5, 1.0)
    several = teach(data, [make_teacher()], quick(teacher_weight=weights), validation=task)
    each = {
        weight: teach(data, [make_teacher()], quick(teacher_weight=weight), validation=task)
        for weight in weights
    }
    errors = {weight: one.record["validation_error"] for weight, one in each.items()}
    assert several.record["teacher_weight"] == min(errors, key=errors.get)
    assert several.record["validation_error"] == min(errors.values())
    assert len(set(errors.values())) == 3
    assert each[0.5].record["teacher_weight_errors"] == []


def test_terms_without_a_teacher_and_the_observed_error_keep_their_weights():
    settings = StudentSettings.of("easyst").weighed(0.5)
    assert [term.weight for term in settings.terms] == [0.5, 1e-4]
    nothing = StudentSettings.of("lstm-rnn", freeze=True).weighed(0)
    assert (nothing.active_terms, nothing.initialise, nothing.freeze) == ((), (), False)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ((), r"teacher_weight is \(\): give a number"),
        ((0, 1, 1.0), "several different ones"),
        (-1, "teacher_weight is -1: it must be a number above 0"),
    ],
)
def test_wrong_teacher_weights(weight, message):
    with pytest.raises(InputError, match=message):
        StudentSettings(teacher_weight=weight)


def test_a_choice_of_weights_needs_validation(data, make_teacher, quick):
    with pytest.raises(InputError, match=r"chosen from 0, 1 on validation data, and there are"):
        teach(data, [make_teacher()], quick(teacher_weight=(0, 1)))


# --- several teachers ----------------------------------------------


def test_shortest_combination_of_two_is_that_of_the_formula():
    for _ in range(20):
        pair = torch.randn(2, 7, dtype=torch.float64)
        difference = pair[0] - pair[1]
        first = (-(pair[1] @ difference) / (difference @ difference)).clamp(0, 1).item()
        assert shortest_combination(pair)[0].item() == pytest.approx(first, abs=1e-9)


def test_shortest_combination_of_three_has_no_descent_left():
    for _ in range(20):
        vectors = torch.randn(3, 5, dtype=torch.float64) + 1
        shares = shortest_combination(vectors)
        assert shares.sum().item() == pytest.approx(1)
        assert (shares >= 0).all()
        total = shares @ vectors
        # at the minimum no vertex is nearer to the origin along the sum
        assert (vectors @ total).min() >= total @ total - 1e-6


def test_adaptive_weights_shorten_the_gradient(data, make_teacher, quick):
    teachers = [make_teacher("patchtst", seed) for seed in (0, 1)]
    sizes = {}
    for combine in ("mean", "adaptive"):
        student, objective = objective_of(data, teachers, quick("soft-labels", combine=combine))
        update = update_of(data)
        terms = objective(student, update)
        rows = student(update.x, update.graph, update.profile)
        assert terms["forecast-values"].requires_grad
        answers = [teacher.answer(data, update.windows)[0] for teacher in teachers]
        slopes = torch.stack([(2 * (rows - a)).flatten() / rows.numel() for a in answers]).detach()
        shares = torch.tensor([0.5, 0.5], dtype=torch.float64)
        if combine == "adaptive":
            shares = shortest_combination(slopes)
            mixed = sum(
                s * functional.mse_loss(rows, a) for s, a in zip(shares, answers, strict=True)
            )
            assert terms["forecast-values"].item() == pytest.approx(mixed.item(), rel=1e-4)
        sizes[combine] = (shares @ slopes.double()).norm().item()
    assert sizes["adaptive"] < sizes["mean"]


# --- shapes, resuming, starting weights ----------------------------


def test_two_targets_are_told_apart(two_targets, make_teacher, quick):
    given = TrainingSet.of_task(two_targets)
    teacher = make_teacher("gru", on=two_targets)
    settings = quick("soft-labels", terms=(Term(view="trend", options={"stride": 2}),))
    student, objective = objective_of(given, [teacher], settings)
    update = update_of(given)
    found = objective(student, update)["forecast-trend"].item()
    rows, _ = teacher.answer(given, update.windows)
    own = student(update.x, update.graph, update.profile)
    chosen = [0, 2, 3, 4, 6, 7]  # steps 0, 2 and the last one of either target
    assert found == pytest.approx(functional.mse_loss(own[:, chosen], rows[:, chosen]).item())
    assert steps_last(rows, 2).shape == (4, 1, 2, 4)


def test_location_subsets_learn_from_the_answers_at_these_locations(data, make_teacher, quick):
    settings = quick("hints")
    student, objective = objective_of(data, [make_teacher()], settings)
    chosen = torch.tensor([1, 5, 6])
    index = torch.tensor([0, 7])
    x, y, mask = data.source.batch(index, chosen)
    part = Update(
        x,
        y,
        mask,
        data.graph.subgraph(chosen),
        data.source.profile[chosen],
        torch.ones(3),
        index,
        chosen,
    )
    found = objective(student, part)["forecast-values"].item()
    rows, _ = make_teacher().answer(data, index)
    own = student(x, part.graph, part.profile)
    assert found == pytest.approx(functional.mse_loss(own, rows[:, :, chosen]).item(), rel=1e-5)


def test_location_weights_count(data, make_teacher, quick):
    student, objective = objective_of(data, [make_teacher()], quick())
    whole = update_of(data)
    weight = torch.zeros(16)
    weight[3] = 16.0
    found = objective(student, whole._replace(weight=weight))["forecast-values"].item()
    rows, _ = make_teacher().answer(data, whole.windows)
    own = student(whole.x, whole.graph, whole.profile)
    assert found == pytest.approx(functional.mse_loss(own[..., 3], rows[..., 3]).item(), rel=1e-5)


class KilledError(RuntimeError):
    """Stands for a kill."""


def test_killed_teaching_goes_on_exactly(data, task, make_teacher, quick, tmp_path, monkeypatch):
    def run(folder):
        places = Places(cache=folder, checkpoint=folder / "training.pt")
        settings = quick("timedistill", student="mlp")
        return teach(data, [make_teacher()], settings, validation=task, places=places)

    whole = run(tmp_path / "whole")
    step = train_module._Run.step

    def killed(self):
        if self.update == 4:
            raise KilledError
        step(self)

    monkeypatch.setattr(train_module._Run, "step", killed)
    with pytest.raises(KilledError):
        run(tmp_path / "killed")
    monkeypatch.undo()
    again = run(tmp_path / "killed")
    for one, other in zip(
        whole.forecaster.parameters(), again.forecaster.parameters(), strict=True
    ):
        assert torch.equal(one, other)


def test_students_start_with_weights_of_the_teacher_and_may_keep_them(
    data, task, make_teacher, quick
):
    teacher = make_teacher("lstm")
    theirs = teacher.fitted.forecaster.head.weight
    kept = teach(data, [teacher], quick("lstm-rnn", freeze=True), validation=task)
    assert torch.equal(kept.forecaster.head.weight, theirs)
    assert all(weight.requires_grad for weight in kept.forecaster.parameters())
    moved = teach(data, [teacher], quick("lstm-rnn"), validation=task)
    assert not torch.equal(moved.forecaster.head.weight, theirs)


def test_horizon_weights_by_hand():
    weights = horizon_weights(1.0, 2)
    assert weights.tolist() == pytest.approx([2 / (1 + math.e), 2 * math.e / (1 + math.e)])
    assert horizon_weights(0.0, 5).tolist() == [1] * 5
    assert horizon_weights(1.0, 1).tolist() == [1]


# --- mistakes ------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "changes", "teacher", "message"),
    [
        ("hints", {"student": "linear"}, "gru", r"no features of its own .*lowrank-linear"),
        ("distilts", {}, "mlp", r"cannot show its tokens; .* features\. Choose a method"),
        ("cnn-rnn", {"student": "rnn"}, "cnn", r"RNNForecaster has no logits"),
        ("soft-labels", {}, None, r"forecast-values ask a teacher, and none is given"),
        (
            "hints",
            {"terms": (Term(of="features"),)},
            "lowrank-linear",
            r"\(16, 8\) per window, the teacher's \(16, 16\): give the term projection=",
        ),
        ("lstm-rnn", {"student_options": {"hidden": 4}}, "lstm", r"head.weight differs in shape"),
        ("lstm-rnn", {"initialise": ("tail",)}, "lstm", r"no such part. .*: code, head, layers"),
    ],
)
def test_what_cannot_be_taught_is_refused(
    method, changes, teacher, message, data, make_teacher, quick
):
    settings = quick(method, **changes)
    if "student_options" in changes:
        settings = replace(settings, student_options=changes["student_options"])
    teachers = [make_teacher(teacher)] if teacher else []
    with pytest.raises(InputError, match=message):
        teach(data, teachers, settings)


def test_a_student_that_cannot_learn_fails_before_its_teacher_is_asked(
    data, make_teacher, quick, tmp_path, monkeypatch
):
    def ask(*args, **kwargs):
        raise AssertionError("asked for nothing")

    monkeypatch.setattr("stemdist.students.teachers.forecaster.ForecasterTeacher.answer", ask)
    with pytest.raises(InputError, match="no features of its own"):
        teach(
            data,
            [make_teacher()],
            quick("hints", student="linear"),
            places=Places(cache=tmp_path),
        )


@pytest.mark.parametrize(
    ("method", "fields", "message"),
    [
        (
            "timdistill",
            {},
            r"method of model distillation 'timdistill': did you mean 'timedistill'",
        ),
        ("hints", {"weights": {"feature-values": 1}}, r"did you mean 'features-values'"),
        ("hints", {"studnet": "mlp"}, r"setting of a student 'studnet': did you mean 'student'"),
        ("hints", {"student": "mlpp"}, r"unknown forecaster 'mlpp'"),
        ("hints", {"combine": "sum"}, r"way to combine teachers 'sum'"),
        ("hints", {"freeze": True}, r"freeze needs parts to initialise"),
        ("undistilled", {"observed_weight": 0.0}, r"there is nothing to learn from"),
        ("hints", {"observed_weight": -1.0}, r"observed_weight is -1.0"),
        ("hints", {"terms": (Term(), Term(loss="mae"))}, r"two terms are called forecast-values"),
    ],
)
def test_wrong_settings(method, fields, message):
    with pytest.raises(InputError, match=message):
        StudentSettings.of(method, **fields)


def test_teachers_are_found_by_folder_or_name(task, make_teacher, quick, tmp_path):
    folder = make_teacher().fitted.save(tmp_path / "gru")
    assert find_teacher(str(folder), quick(), None).identity == make_teacher().identity
    trained = find_teacher("linear", quick(), task, cache=tmp_path / "cache")
    again = find_teacher("linear", quick(), task, cache=tmp_path / "cache")
    assert trained.identity == again.identity
    assert len(list((tmp_path / "cache" / "teachers").iterdir())) == 1
    with pytest.raises(InputError, match="neither a folder that stemdist train wrote, nor"):
        find_teacher("nobody", quick(), task)
    with pytest.raises(InputError, match="has to be trained on real data"):
        find_teacher("gru", quick(), None)
    with pytest.raises(InputError, match="unknown teacher 'chronos'"):
        load_teacher("chronos")


def test_an_objective_without_teachers_is_the_error_alone(data, quick):
    settings = quick("undistilled")
    student, objective = objective_of(data, [], settings)
    assert isinstance(objective, TeachingObjective)
    update = update_of(data)
    expected = ForecastLoss()(student, update)["forecast"]
    torch.testing.assert_close(objective(student, update)["observed"], expected)


# --- hidden states of different sizes ----------------


def terms_of(data, teacher, settings):
    student, objective = objective_of(data, [teacher], settings)
    return student, objective(student, update_of(data))


BANDS = Term(of="latent", view="bands", projection="student")


@pytest.mark.parametrize(
    ("student", "levels", "term"),
    [  # cells of the latent images of 4 x 4 points: student's, teacher's
        ("resnet", 3, BANDS),  # 2 x 2, 1 x 1
        ("resnet", 3, Term(of="latent", projection="teacher")),
        ("image-mixer", 2, BANDS),  # 1 x 1, 2 x 2
        ("image-mixer", 2, Term(of="latent", view="attention")),
    ],
)
def test_latent_images_of_any_resolution_are_compared(data, make_teacher, student, levels, term):
    settings = StudentSettings.of("sdkd", student=student, terms=(term,))
    teacher = make_teacher("spectral-evolution", levels=levels)
    forecaster, terms = terms_of(data, teacher, settings)
    assert gradient(terms[term.label], forecaster).isfinite().all()


def test_every_cell_of_a_finer_image_reaches_the_teachers_cell():
    project = PROJECTIONS["student"](torch.Size((4, 6, 3)), torch.Size((2, 3, 5)))
    fine = torch.randn(2, 4, 6, 3, requires_grad=True)
    made, _ = project(fine, torch.zeros(2, 2, 3, 5))
    assert made.shape == (2, 2, 3, 5)
    (slope,) = torch.autograd.grad(made[0, 1, 2].sum(), fine)
    reached = slope[0].abs().sum(-1) > 0
    assert reached.nonzero().tolist() == [[2, 4], [2, 5], [3, 4], [3, 5]]


def test_tokens_of_different_patches_have_no_common_attention(data, make_teacher):
    options = {"hidden": 8, "feed_forward": 8, "heads": 2, "layers": 1, "patch": 6, "stride": 6}
    settings = StudentSettings.of("transformer-layer", student_options=options, initialise=())
    with pytest.raises(InputError, match="the student has 3 tokens per location, the teacher 4"):
        terms_of(data, make_teacher("patchtst"), settings)
