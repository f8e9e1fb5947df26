"""Published systems of model distillation by name: how the parts are put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stemdist.errors import unknown_name
from stemdist.students.term import Term

_LABELS = Term(view="values", loss="mse")
_HINTS = Term(of="features", view="values", loss="mse", projection="student")


def _timedistill() -> tuple[Term, ...]:
    """Ni et al., KDD 2026, section 4: scales and periods of forecasts and of features."""
    return (
        Term(view="scales", loss="mse"),
        Term(view="spectrum", loss="kl", weight=0.1),
        Term(of="features", view="scales", loss="mse", projection="teacher", weight=0.1),
        Term(of="features", view="spectrum", loss="kl", projection="teacher", weight=0.1),
    )


_LATER_STEPS_MORE = Term(weight=0.5, horizon_tau=1.0)
_TOKENS = Term(of="tokens", projection="factorised", loss="mse", weight=0.3)


METHODS: dict[str, dict[str, Any]] = {
    # The teacher's forecasts as targets beside the observed ones (Hinton et al., 2015).
    "soft-labels": {"terms": (_LABELS,)},
    # No teacher at all: what a student is worth by itself, trained in the very same way.
    "undistilled": {"terms": ()},
    "timedistill": {
        "student": "decomposition-mlp",
        "teachers": ("patchtst",),
        "terms": _timedistill(),
    },
    # DistilTS, ICASSP 2026: forecasts, and the teacher's tokens from the student's features.
    "distilts": {
        "student": "itransformer",
        "teachers": ("patchtst",),
        "terms": (_LATER_STEPS_MORE, _TOKENS),
    },
    # Its linear student has no hidden layer to align.
    "distilts-linear": {
        "student": "dlinear",
        "teachers": ("patchtst",),
        "terms": (_LATER_STEPS_MORE,),
    },
    "distilts-frequency": {
        "student": "dlinear",
        "teachers": ("patchtst",),
        "terms": (
            Term(view="amplitudes", loss="mse", weight=0.5),
            Term(view="differences", loss="mse", weight=0.05),
        ),
    },
    "distilts-trend": {
        "student": "dlinear",
        "teachers": ("patchtst",),
        "terms": (Term(view="trend", weight=0.5),),
    },
    # SDKD, ICCV 2025: high and low spatial frequencies of the latent images.
    "sdkd": {
        "student": "unet",
        "student_options": {"channels": 8},
        "teachers": ("spectral-evolution",),
        "terms": (Term(of="latent", view="bands", projection="student", weight=0.5),),
    },
    # EasyST, CIKM 2024: the teacher bounds what the student pays; its code forgets what it can.
    "easyst": {
        "student": "bottleneck-mlp",
        "teachers": ("mtgnn",),
        "terms": (
            Term(loss="bounded"),
            Term(of="bottleneck", loss="information", weight=1e-4),
        ),
    },
    "lstm-rnn": {
        "student": "rnn",
        "teachers": ("lstm",),
        "terms": (Term(loss="gaussian-kl", weight=0.5),),
        "initialise": ("head", "code"),
    },
    "gru-linear": {
        "student": "lowrank-linear",
        "teachers": ("gru",),
        "terms": (_LABELS, Term(of="features", projection="student", weight=0.1)),
    },
    "cnn-rnn": {
        "student": "binned-rnn",
        "teachers": ("cnn",),
        "terms": (Term(of="logits", view="bins", loss="cross-entropy", weight=0.2),),
    },
    "transformer-layer": {
        "student": "patchtst",
        "student_options": {"layers": 1},
        "teachers": ("patchtst",),
        "teacher_options": {"layers": 3},
        "terms": (_LABELS, Term(of="tokens", view="attention", weight=0.5)),
        "initialise": ("embed", "position", "head", "code"),
    },
    # Romero et al., ICLR 2015: FitNets.
    "hints": {"terms": (_LABELS, _HINTS)},
    # Zagoruyko & Komodakis, ICLR 2017.
    "attention-transfer": {"terms": (_LABELS, Term(of="features", view="attention"))},
    # Park et al., CVPR 2019: distances and angles, weighed as in the paper.
    "relational": {
        "terms": (
            _LABELS,
            Term(of="features", view="distances", loss="huber", weight=0.25),
            Term(of="features", view="angles", loss="huber", weight=0.5),
        )
    },
}
"""Fields of :class:`~stemdist.students.StudentSettings` that differ from its defaults."""


def method_fields(method: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a named method after changes, which win.

    Another student or other teachers than the method's start from their own options.

    Raises
    ------
    InputError
        If the method is unknown.

    Examples
    --------
    >>> method_fields("sdkd", {"student": "resnet"}).get("student_options", {})
    {}
    """
    if method not in METHODS:
        raise unknown_name("method of model distillation", method, METHODS)
    fields = dict(METHODS[method])
    for part, options in (("student", "student_options"), ("teachers", "teacher_options")):
        if changes.get(part, fields.get(part)) != fields.get(part):
            fields.pop(options, None)
        if options in changes and options in fields:
            changes = {**changes, options: {**fields[options], **changes[options]}}
    return {**fields, **changes}
