"""Methods by name: how the parts of distillation are put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stemdist.errors import InputError, unknown_name

# Selected real windows with observed targets; labels="expert" gives them soft labels.
_CORESET = {"labels": "observed", "synthesizer": "selection"}

# Random windows at cluster means, whose paths are matched at all clusters at once.
_PATHS = {
    "representative": "mean",
    "selection": "random",
    "window_times": "shared",
    "labels": "observed",
    "synthesizer": "trajectory-matching",
}

METHODS: dict[str, dict[str, Any]] = {
    "default": {},
    # The start and labels of the default; paths of networks that are trained on one subset of the
    # clusters at a time are matched (granular refinement).
    "granular": {"synthesizer": "trajectory-matching", "synthesizer_options": {"subsets": 4}},
    # Kwon et al., ICDE 2026, section 4: granular gradient matching from clustered real windows.
    "stemdist": {
        "representative": "mean",
        "selection": "random",
        "labels": "observed",
        "synthesizer": "gradient-matching",
        "synthesizer_options": {
            "iterations": 10,  # 100 in the paper
            "surrogate": "mtgnn",
            "surrogate_options": {"location_encoder": "attention"},
            "batch_windows": 64,
        },
    },
    # Random windows at the most central location of each part of a random partition.
    "random": {**_CORESET, "selection": "random", "clustering": "random"},
    "kmeans": {**_CORESET, "selection": "kmeans"},
    "k-center": {**_CORESET, "selection": "k-center"},
    "herding": {**_CORESET, "selection": "herding"},
    "craig": {**_CORESET, "selection": "craig"},
    # Ding et al., NeurIPS 2024: trajectory matching of a short series, whose targets move a
    # little towards the soft labels in every iteration.
    "condtsf": {
        "selection": "contiguous",
        "labels": "incremental",
        "synthesizer": "trajectory-matching",
        "synthesizer_options": {"relabel": 0.01},
        "parametrisation": "series",
    },
    # Cazenavette et al., CVPR 2022: labels are learned from the observed ones.
    "mtt": {**_PATHS, "synthesizer_options": {"subsets": 1, "relabel": 0.0}},
    # Cui et al., ICML 2023: labels are soft labels.
    "tesla": {
        **_PATHS,
        "labels": "expert",
        "synthesizer_options": {"subsets": 1, "relabel": 1.0, "learn_labels": False},
    },
    # Guo et al., ICLR 2024: labels are learned from soft labels, starts get later.
    "datm": {
        **_PATHS,
        "labels": "expert",
        "synthesizer_options": {"subsets": 1, "relabel": 0.0, "widening": 0.5},
    },
    # Miao et al., PVLDB 2025: amplitude spectra are matched too, starts get later.
    "timedc": {
        **_PATHS,
        "synthesizer_options": {
            "subsets": 1,
            "relabel": 0.0,
            "widening": 0.5,
            "frequency_weight": 1.0,
        },
    },
    # All ridge solutions of a shared linear forecaster, from second moments.
    "moments": {"labels": "observed", "synthesizer": "closed-form", "judges": ("linear",)},
    # Zhou et al., NeurIPS 2022: kernel ridge regression on features of networks in training.
    "frepo": {
        "labels": "observed",
        "synthesizer": "kernel-ridge",
        "synthesizer_options": {"closed_form": False},
    },
    # Feng et al., ICLR 2024, section 3: back-propagation at a random place of a training.
    "rat-bptt": {
        "labels": "observed",
        "synthesizer": "network-pool",
        "synthesizer_options": {"networks": 1, "renewal": 1.0},
    },
    # Zhao & Bilen, WACV 2023, of inputs and targets together.
    "dm": {"labels": "observed", "synthesizer": "distribution-matching"},
    # Zhao et al., CVPR 2023: the same with networks in training, parts of windows and an error.
    "idm": {"labels": "observed", "synthesizer": "improved-distribution-matching"},
}
"""Fields of :class:`~stemdist.distill.DistillSettings` that differ from its defaults."""


_THOROUGH = {
    "final_surrogates": ("gru", "patchtst"),
    "synthetic_samples": 1024,
    "patience": 3,
}
"""Options of kernel ridge regression that take several times as long (decision 035)."""

EFFORTS: dict[str, dict[str, dict[str, Any]]] = {
    # Real windows with the soft labels of one expert that is trained briefly.
    "quick": {
        "default": {
            "experts": ("mlp",),
            "extra_experts": 0,
            "expert_training": {"updates": 200},
            "synthesizer": "selection",
            "judge_seeds": 1,
        },
    },
    "default": {name: {} for name in METHODS},
    # More experts, judges and samples, more patience, and for small sets a final round with the
    # expensive families; the iterations of a published method that are shortened otherwise.
    "thorough": {
        "default": {
            "experts": ("mlp", "linear", "decomposition-mlp"),
            "expert_training": {"locations_per_update": 96},
            "judge_seeds": 6,
            "synthesizer_options": _THOROUGH,
        },
        "frepo": {"synthesizer_options": _THOROUGH},
        "stemdist": {"synthesizer_options": {"iterations": 100}},
    },
}
"""What an effort changes of each method that has it: ``EFFORTS[effort][method]``."""


def method_fields(
    method: str, changes: Mapping[str, Any], effort: str = "default"
) -> dict[str, Any]:
    """Return the fields of a named method after changes.

    Parameters
    ----------
    method : str
        A name of ``METHODS``.
    changes : mapping
        Fields that win over the method's. Options of the method's own synthesizer or
        parametrisation, and fields of a training, are merged; another synthesizer or
        parametrisation starts from its own defaults.
    effort : str
        A name of ``EFFORTS``; what it changes is changed before ``changes``.

    Raises
    ------
    InputError
        If the method is unknown or has no such effort.

    Examples
    --------
    >>> fields = method_fields("stemdist", {"synthesizer_options": {"iterations": 2}})
    >>> fields["synthesizer_options"]["iterations"], fields["synthesizer_options"]["surrogate"]
    (2, 'mtgnn')
    >>> "synthesizer_options" in method_fields("stemdist", {"synthesizer": "selection"})
    False
    """
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if effort not in EFFORTS:
        raise unknown_name("effort", effort, EFFORTS)
    if method not in EFFORTS[effort]:
        having = [name for name, methods in EFFORTS.items() if method in methods]
        raise InputError(
            f"effort is {effort!r}, which the method {method!r} does not have: choose "
            f"{' or '.join(having)}, or one of the methods {', '.join(EFFORTS[effort])}"
        )
    return _merged(_merged(METHODS[method], EFFORTS[effort][method]), changes)


def _merged(fields: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(fields)
    for part in ("synthesizer", "parametrisation"):
        if changes.get(part, merged.get(part)) != merged.get(part):
            merged.pop(f"{part}_options", None)
    for name, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = {**merged[name], **value} if both else value
    return merged
