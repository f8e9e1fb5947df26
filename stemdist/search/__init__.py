"""Search for hyper-parameters: many trainings on the small set, a few on everything."""

from stemdist.search.settings import TuneSettings
from stemdist.search.space import read_space, spaces_of
from stemdist.search.tuned import Tuned, tune

__all__ = ["TuneSettings", "Tuned", "read_space", "spaces_of", "tune"]
