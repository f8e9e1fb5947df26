"""Distilled training sets: clusters, experts, labels, synthesizers and the distilled file."""

from __future__ import annotations

from stemdist.distill.distilled import DistilledSet
from stemdist.distill.experts import train_experts
from stemdist.distill.pipeline import StartingPoint, distill, starting_point
from stemdist.distill.problem import DistillationProblem
from stemdist.distill.settings import DistillSettings
from stemdist.distill.synthesizer import SYNTHESIZERS, Synthesizer, make_synthesizer
from stemdist.distill.training import train_on_distilled

__all__ = [
    "SYNTHESIZERS",
    "DistillSettings",
    "DistillationProblem",
    "DistilledSet",
    "StartingPoint",
    "Synthesizer",
    "distill",
    "make_synthesizer",
    "starting_point",
    "train_experts",
    "train_on_distilled",
]
