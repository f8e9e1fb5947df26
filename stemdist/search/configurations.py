"""Configurations drawn from search spaces, without a search."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stemdist.data.windows import WindowSource
from stemdist.errors import InputError, check_count
from stemdist.forecast import TrainingSettings, fit_windows
from stemdist.forecast.search_space import Choice, Parameter
from stemdist.search.space import spaces_of, split_configuration

if TYPE_CHECKING:
    from torch_geometric.data import Data


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """A forecaster with its hyper-parameters and those of its training.

    Parameters
    ----------
    forecaster : str
        Registered name.
    options : mapping
        Hyper-parameters of the forecaster.
    training : mapping
        Fields of :class:`~stemdist.forecast.TrainingSettings`.
    lookback : int, optional
        Input steps; those of the windows by default.
    """

    forecaster: str
    options: Mapping[str, Any]
    training: Mapping[str, Any]
    lookback: int | None = None

    @classmethod
    def of(
        cls, forecaster: str, found: Mapping[str, Any], lookback: int | None = None
    ) -> Configuration:
        """Return a configuration from all hyper-parameters by name.

        Examples
        --------
        >>> found = Configuration.of("mlp", {"hidden": 16, "learning_rate": 0.01})
        >>> found.options, found.training
        ({'hidden': 16}, {'learning_rate': 0.01})
        """
        options, training = split_configuration(found)
        return cls(forecaster=forecaster, options=options, training=training, lookback=lookback)

    def validation_rmse(
        self, source: WindowSource, graph: Data, training: TrainingSettings, **how: Any
    ) -> tuple[float, str | None]:
        """Train the forecaster with its options.

        Parameters
        ----------
        source, graph, training, **how
            As in :func:`~stemdist.forecast.fit_windows`, ``validation`` among them.

        Returns
        -------
        float, str or None
            RMSE on validation in scaled units; or infinity and the reason, where its loss is no
            longer finite or sizes do not go together.
        """
        try:
            _, result = fit_windows(
                self.forecaster, source, graph, training, options=self.options, **how
            )
        except InputError as error:
            return math.inf, str(error)
        return math.sqrt(result.best_validation_error), None


def draw_configurations(
    forecasters: Sequence[str],
    count: int,
    *,
    seed: int = 0,
    changes: Mapping[str, Any] | None = None,
) -> tuple[Configuration, ...]:
    """Draw configurations at random from the search spaces, the same number of each forecaster.

    Parameters
    ----------
    forecasters : sequence of str
        Registered names; where ``count`` is no multiple of their number, the first have one more.
    count : int
        Number of configurations.
    seed : int
        Random seed.
    changes : mapping, optional
        Changes of the search spaces; see :func:`~stemdist.search.spaces_of`.

    Raises
    ------
    InputError
        If a name is unknown or a value cannot be used.

    Examples
    --------
    >>> drawn = draw_configurations(["linear", "mlp"], 3)
    >>> [each.forecaster for each in drawn]
    ['linear', 'mlp', 'linear']
    >>> sorted(drawn[1].options), sorted(drawn[1].training)
    (['depth', 'dropout', 'hidden'], ['learning_rate', 'weight_decay'])
    """
    check_count("configurations", count)
    spaces = spaces_of(forecasters, changes)
    random = np.random.default_rng(seed)
    drawn = []
    for place in range(count):
        family = forecasters[place % len(forecasters)]
        found = {name: _drawn(parameter, random) for name, parameter in spaces[family].items()}
        drawn.append(Configuration.of(family, found))
    return tuple(drawn)


def _drawn(parameter: Parameter, random: np.random.Generator) -> Any:
    if isinstance(parameter, Choice):
        return parameter.values[random.integers(len(parameter.values))]
    low, high = parameter.low, parameter.high
    if parameter.whole and not parameter.log:
        return int(random.integers(int(low), int(high) + 1))
    if not parameter.log:
        return float(random.uniform(low, high))
    value = math.exp(random.uniform(math.log(low), math.log(high)))
    return round(value) if parameter.whole else value
