"""Search for hyper-parameters: many trainings on the small set, a few on everything."""

from stemdist.tune.settings import TuneSettings
from stemdist.tune.space import read_space, spaces_of
from stemdist.tune.tuned import Tuned, tune

__all__ = ["TuneSettings", "Tuned", "read_space", "spaces_of", "tune"]
