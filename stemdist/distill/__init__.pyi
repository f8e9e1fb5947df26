from .distilled import DistilledSet
from .experts import train_experts
from .figures import plot_distilled
from .material import Material, prepare
from .pipeline import StartingPoint, distill, starting_point
from .problem import DistillationProblem
from .settings import DistillSettings
from .synthesizer import SYNTHESIZERS, Synthesizer, make_synthesizer
from .training import train_on_distilled

__all__ = [
    "SYNTHESIZERS",
    "DistillSettings",
    "DistillationProblem",
    "DistilledSet",
    "Material",
    "StartingPoint",
    "Synthesizer",
    "distill",
    "make_synthesizer",
    "plot_distilled",
    "prepare",
    "starting_point",
    "train_experts",
    "train_on_distilled",
]
