"""Terms: combinations that mean nothing are refused, and the message says what to choose."""

from __future__ import annotations

import pytest

from stemdist.errors import InputError
from stemdist.students import METHODS, Term


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"loss": "kl"}, r"numbers, so it would be no divergence: choose loss='gaussian-kl'"),
        ({"loss": "cross-entropy"}, r"view='bins' with a student that has bins, e.g. binned-rnn"),
        ({"view": "spectrum"}, r"gives log probabilities: choose loss='kl'"),
        ({"view": "bands"}, r"'bands' is of latent, not of forecast"),
        ({"of": "features", "view": "trend"}, r"'trend' is of forecast, not of features"),
        ({"of": "features", "loss": "bounded"}, r"this loss is of forecast, not of features"),
        ({"view": "scales", "loss": "gaussian-kl"}, r"compares the values themselves"),
        ({"view": "scales", "horizon_tau": 1.0}, r"horizon_tau weighs the steps of a forecast"),
        ({"projection": "student"}, r"a projection is for hidden states"),
        (
            {"of": "features", "view": "attention", "projection": "student"},
            r"states of any size as they are: leave the projection out",
        ),
        ({"of": "tokens", "projection": "student"}, r"by projection='factorised'"),
        ({"of": "feature"}, r"subject of a term 'feature': did you mean 'features'"),
        ({"projection": "two-layer"}, r"unknown projection 'two-layer'"),
        ({"weight": -1.0}, r"weight at least 0"),
        ({"options": {"stride": 3}}, r"option of term forecast-values 'stride'"),
        ({"view": "trend", "options": {"stride": 0}}, r"stride is 0"),
    ],
)
def test_meaningless_terms(fields, message):
    with pytest.raises(InputError, match=message):
        Term(**fields)


def test_options_go_to_the_view_and_to_the_loss():
    term = Term(view="spectrum", loss="kl", options={"temperature": 2.0})
    assert (term.view_options, term.loss_options) == ({"temperature": 2.0}, {})
    term = Term(loss="bounded", options={"margin": 0.5})
    assert (term.view_options, term.loss_options) == ({}, {"margin": 0.5})


def test_states_that_student_and_teacher_must_show():
    tokens = Term(of="tokens", projection="factorised")
    assert (tokens.student_state, tokens.teacher_state) == ("features", "tokens")
    bins = Term(of="logits", view="bins", loss="cross-entropy")
    assert (bins.student_state, bins.teacher_state) == ("logits", None)
    code = Term(of="bottleneck", loss="information")
    assert (code.student_state, code.teacher_state, code.needs_teacher) == (
        "bottleneck",
        None,
        False,
    )
    assert (Term().student_state, Term().teacher_state) == (None, None)


@pytest.mark.parametrize("recipe", METHODS)
def test_terms_of_recipes_survive_json(recipe):
    for term in METHODS[recipe].get("terms", ()):
        assert Term(**term.to_json()) == term
