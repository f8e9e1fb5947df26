"""Distribution matching with networks in training, parts of windows and a regularising error.

Zhao, Li, Wang & Yu, Improved Distribution Matching for Dataset Condensation, CVPR 2023 (IDM),
section 4 and the published code, for pairs of inputs and targets instead of images of a class.
Shapes: B windows, N locations, n = B * N samples, V views of a sample, L_in lookback, L_out
horizon, T = L_in + L_out steps, F features, C targets, R = C * L_out, H network features.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from stemdist.data.windows import TensorWindows
from stemdist.distill.problem import DistillationProblem
from stemdist.distill.synthesizer import SyntheticState
from stemdist.distill.synthesizers.distribution_matching import (
    mean_distance,
    paired_sequences,
    sample_shares,
)
from stemdist.distill.synthesizers.pool import PoolNetwork, PoolSynthesizer
from stemdist.errors import InputError, check_count, unknown_name
from stemdist.forecast import Forecaster, weighted_mean
from stemdist.forecast.hidden_states import hidden_states

if TYPE_CHECKING:
    from torch_geometric.data import Data

TRAINED_ON = ("real", "synthetic")
"""Windows on which the networks of the pool can train."""

_LEAST_VARIANCE = 0.01  # of the mean; units of a network that rarely respond vary hardly at all


def expanded_parts(sequences: Tensor, parts: int) -> Tensor:
    """Split sequences in time and stretch every part to the full length by linear interpolation.

    Section 4.1, for time instead of the two axes of an image. The ends of a part stay its ends,
    so that a straight line stays one; where T is no multiple of ``parts``, the first parts have
    a step more.

    Parameters
    ----------
    sequences : Tensor
        (n, F, T).
    parts : int
        Number of parts, at most T.

    Returns
    -------
    Tensor
        (parts, n, F, T), differentiable; one part is the sequence itself.

    Examples
    --------
    >>> expanded_parts(torch.tensor([[[0.0, 2.0, 8.0, 5.0]]]), 2).round(decimals=2)[:, 0, 0]
    tensor([[0.0000, 0.6700, 1.3300, 2.0000],
            [8.0000, 7.0000, 6.0000, 5.0000]])
    """
    size = sequences.shape[2]
    return torch.stack(
        [
            functional.interpolate(part, size=size, mode="linear", align_corners=True)
            for part in sequences.tensor_split(parts, dim=2)
        ]
    )


def features_with_targets(features: Tensor, targets: Tensor) -> Tensor:
    """Return features, targets and the products of one with the other.

    The means of features by class, which the paper compares, are for targets of 0 and 1 the means
    of these products over the frequencies of the classes: products are what takes the place of
    classes where targets are numbers.

    Parameters
    ----------
    features : Tensor
        (n, H).
    targets : Tensor
        (n, R).

    Returns
    -------
    Tensor
        (n, H + R + H * R).

    Examples
    --------
    >>> features_with_targets(torch.tensor([[2.0, 3.0]]), torch.tensor([[5.0]])).tolist()
    [[2.0, 3.0, 5.0, 10.0, 15.0]]
    """
    products = (features[:, :, None] * targets[:, None]).flatten(1)
    return torch.cat([features, targets, products], dim=1)


def explained_share(forecast: Tensor, windows: TensorWindows) -> Tensor:
    """Return the share of the variance of observed targets that a forecast explains, at least 0.

    Parameters
    ----------
    forecast : Tensor
        (B, R, N).
    windows : TensorWindows
        Whose targets are forecast.

    Examples
    --------
    >>> y = torch.tensor([[[1.0], [5.0]]])
    >>> windows = TensorWindows(
    ...     x=torch.zeros(1, 3, 1, 1), y=y, mask=torch.ones(1, 2, 1), weight=torch.ones(1))
    >>> explained_share(y + 1, windows).item(), explained_share(y + 3, windows).item()
    (0.75, 0.0)
    """
    mask, weight = windows.mask, windows.weight
    mean = weighted_mean(windows.y, mask, weight)
    variance = weighted_mean((windows.y - mean) ** 2, mask, weight).clamp_min(1e-12)
    return (1 - weighted_mean((forecast - windows.y) ** 2, mask, weight) / variance).clamp_min(0)


class ImprovedDistributionMatching(PoolSynthesizer):
    """Synthetic windows whose features in forecasters in training are those of real windows.

    Every window of a location is a sample. A step takes a network from a pool and moves ``x`` and
    ``y`` down the gradient of the distance of means of the network's last hidden features, of the
    targets and of their products (:func:`features_with_targets`), plus the network's error on the
    synthetic windows. Differences of means are squared, as in the paper, and measured in standard
    deviations of the real samples. The three parts of the paper:

    - *Partitioning and expansion* (section 4.1): beside itself, a sample is seen as ``parts``
      samples, the parts of its inputs and targets, joined in time, each expanded to the full
      length, of which the first L_in steps are inputs and the others targets. In the paper the
      expanded parts are the training set. Here the windows that are stored are what forecasters
      are trained on: so parts are an augmentation of real and synthetic samples alike, and
      whole windows are matched, too. Features that are not targets keep their last value after
      the inputs.
    - *Enriched sampling of models* (4.2): after each use a network trains ``updates`` updates on
      real windows, as in the published code, or on the synthetic ones; once it has had its share
      of them, which is drawn between 1 and ``longest``, a fresh one takes its place.
    - *Regularisation* (4.3): the squared error on the synthetic windows, in place of the cross
      entropy, is multiplied by the share of the variance of real targets that the network
      explains, in place of its accuracy; networks that have learned nothing have no say.

    Samples are weighted by location. Where targets are missing in a sample, they are masked in a
    random sample of the other set too, so that gaps are equally frequent in both.

    Parameters
    ----------
    iterations : int
        Outer iterations; after each the validation error is measured.
    steps : int
        Steps per iteration.
    parts : int
        Parts of a window; with 1 only whole windows are matched.
    error_weight : float
        Weight of the error on the synthetic windows, at least 0.
    surrogates : sequence of str
        Forecasters whose features are used, in turns over the places of the pool; a text may
        list them with commas.
    networks : int
        Networks in the pool.
    updates : int
        Updates of a network after each use.
    longest : int
        Most updates a network lives.
    trained_on : str
        ``real`` or ``synthetic`` windows. Networks fit the windows on which they are trained:
        with the latter, their error there says little about the relation in real windows.
    learning_rate : float
        Of Adam on the learned tensors.
    surrogate_learning_rate : float
        Of Adam on the networks.
    batch_windows, batch_locations : int
        Windows and locations of a real batch, at most.
    synthetic_samples : int
        Synthetic samples of a step or an update, at most; a random part where there are more.
    relabel : float
        Share of the soft labels that enters ``y`` after each iteration.
    """

    reads_forecasts: ClassVar[bool] = True

    def __init__(
        self,
        *,
        iterations: int = 10,
        steps: int = 40,
        parts: int = 2,
        error_weight: float = 0.3,
        surrogates: Sequence[str] | str = ("mlp", "linear"),
        networks: int = 8,
        updates: int = 5,
        longest: int = 400,
        trained_on: str = "real",
        learning_rate: float = 1e-2,
        surrogate_learning_rate: float = 1e-2,
        batch_windows: int = 64,
        batch_locations: int = 16,
        synthetic_samples: int = 1024,
        relabel: float = 0.0,
    ) -> None:
        self.iterations = iterations
        self.steps = steps
        self.parts = parts
        self.error_weight = error_weight
        self.surrogates = surrogates
        self.networks = networks
        self.updates = updates
        self.longest = longest
        self.trained_on = trained_on
        self.learning_rate = learning_rate
        self.surrogate_learning_rate = surrogate_learning_rate
        self.batch_windows = batch_windows
        self.batch_locations = batch_locations
        self.synthetic_samples = synthetic_samples
        self.relabel = relabel

    def optimizer(self, tensors: Sequence[Tensor]) -> torch.optim.Optimizer:
        """Return Adam over the learned tensors, after checking the parameters."""
        check_count("parts", self.parts)
        if not (math.isfinite(self.error_weight) and self.error_weight >= 0):
            raise InputError(f"error_weight is {self.error_weight!r}: it must be at least 0")
        if self.trained_on not in TRAINED_ON:
            raise unknown_name("trained_on", self.trained_on, TRAINED_ON)
        return super().optimizer(tensors)

    def prepare(self, problem: DistillationProblem, *, seed: int, cache: str | Path | None) -> None:
        """Fill the pool with fresh networks.

        Raises
        ------
        InputError
            If the surrogate does not end in a linear layer, or parts would have a single step.
        """
        n_steps = problem.start.lookback + problem.start.horizon
        if self.parts > 1 and 2 * self.parts > n_steps:
            raise InputError(
                f"parts is {self.parts}: a window of {n_steps} steps, inputs and targets, has at "
                f"most {n_steps // 2} parts of two steps"
            )
        super().prepare(problem, seed=seed, cache=cache)

    def _lessons(
        self,
        problem: DistillationProblem,
        synthetic: SyntheticState,
        network: PoolNetwork,
        generator: torch.Generator,
    ) -> Iterable[tuple[TensorWindows, Data]]:
        """Return the windows of each update of a network, and their graph."""
        if self.trained_on == "synthetic":
            return super()._lessons(problem, synthetic, network, generator)
        return (
            self._real_batch(problem, network.forecaster, generator) for _ in range(self.updates)
        )

    def _real_batch(
        self, problem: DistillationProblem, forecaster: Forecaster, generator: torch.Generator
    ) -> tuple[TensorWindows, Data]:
        return problem.real_batch(
            self.batch_windows, self.batch_locations, generator, pointwise=forecaster.pointwise
        )

    def _error(
        self,
        problem: DistillationProblem,
        synthetic: SyntheticState,
        forecaster: Forecaster,
        generator: torch.Generator,
    ) -> Tensor:
        """Return the distance from a real batch, plus the weighted error of the forecaster."""
        known, part_graph = self._part(problem, synthetic, generator)
        batch, graph = self._real_batch(problem, forecaster, generator)
        sequences, found_sequences = paired_sequences(batch, known, generator, held=True)
        with torch.no_grad():
            wanted, forecast = self._described(forecaster, sequences, batch, graph)
            skill = explained_share(forecast, batch)
        found, answer = self._described(forecaster, found_sequences, known, part_graph)
        distance = mean_distance(
            wanted,
            found,
            sample_shares(batch.weight, len(wanted) // batch.n_locations),
            sample_shares(known.weight, len(found) // known.n_locations),
            least=_LEAST_VARIANCE,
        )
        error = weighted_mean((answer - known.y) ** 2, known.mask, known.weight)
        return distance + self.error_weight * skill * error

    def _described(
        self, forecaster: Forecaster, sequences: Tensor, windows: TensorWindows, graph: Data
    ) -> tuple[Tensor, Tensor]:
        """Return what is matched (V * n, H + R + H * R), and the forecast (B, R, N)."""
        views = sequences[None]  # (V, n, F, T)
        if self.parts > 1:
            views = torch.cat([views, expanded_parts(sequences, self.parts)])
        n_windows, lookback = len(windows), windows.lookback
        placed = torch.unflatten(views, 1, (n_windows, -1)).flatten(0, 1)  # (V * B, N, F, T)
        x = placed[..., :lookback].permute(0, 3, 1, 2)
        forecast, states = hidden_states(forecaster, ["features"], x, graph, windows.profile)
        targets = views[:, :, : windows.n_targets, lookback:].flatten(2).flatten(0, 1)
        described = features_with_targets(states["features"].flatten(0, 1), targets)
        return described, forecast[:n_windows]
