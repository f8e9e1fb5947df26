"""Distribution matching: synthetic windows whose random-network features match the real ones.

Zhao & Bilen, Dataset Condensation with Distribution Matching, WACV 2023, section 3, with
pairs of inputs and targets instead of images of a class.
Shapes: B windows, N locations, n = B * N samples, L_in lookback, L_out horizon, F features,
C targets, T = L_in + L_out steps, H network features of a sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from stemdist.data.windows import TensorWindows
from stemdist.distill.problem import DistillationProblem
from stemdist.distill.synthesizer import Synthesizer, SyntheticState
from stemdist.distill.synthesizers.samples import check_rates, random_part, sample_rows
from stemdist.errors import check_count, unknown_name

_BANDWIDTHS = (0.25, 1.0, 4.0)  # in mean squared distances of real samples


def mean_distance(
    real: Tensor,
    synthetic: Tensor,
    real_share: Tensor,
    synthetic_share: Tensor,
    least: float = 0.0,
) -> Tensor:
    """Return the mean squared difference of the means, in standard deviations of the real ones.

    Parameters
    ----------
    real, synthetic : Tensor
        (n, H) features; the numbers of samples may differ.
    real_share, synthetic_share : Tensor
        (n,) weights of the samples, of sum 1.
    least : float
        Share of the mean variance of all features as which a smaller variance counts: features
        that are almost always the same have no unit of their own.

    Examples
    --------
    >>> real, synthetic = torch.tensor([[1.0], [5.0]]), torch.tensor([[4.0]])
    >>> mean_distance(real, synthetic, torch.tensor([0.5, 0.5]), torch.ones(1)).item()
    0.25
    """
    mean = real_share @ real
    variance = real_share @ (real - mean) ** 2
    if least > 0:
        variance = torch.maximum(variance, least * variance.mean())
    return ((synthetic_share @ synthetic - mean) ** 2 / variance.clamp_min(1e-12)).mean()


def rbf_distance(
    real: Tensor, synthetic: Tensor, real_share: Tensor, synthetic_share: Tensor
) -> Tensor:
    """Return the squared maximum mean discrepancy, with a mean of three Gaussian kernels.

    Gretton et al., A Kernel Two-Sample Test, JMLR 2012, equation 5, with weights. It is 0 if, and
    for distinct samples only if, both give every sample the same weight. The kernels are
    ``exp(-d^2 / h)`` with h a quarter, once and four times the mean of ``d^2`` over pairs of
    real samples.

    Parameters
    ----------
    real, synthetic : Tensor
        (n, H) features; the numbers of samples may differ.
    real_share, synthetic_share : Tensor
        (n,) weights of the samples, of sum 1.

    Examples
    --------
    >>> real, share = torch.tensor([[1.0], [5.0]]), torch.tensor([0.25, 0.75])
    >>> rbf_distance(real, real.flip(0), share, share.flip(0)).item()
    0.0
    """
    mean = real_share @ real
    spread = 2 * (real_share @ (real - mean) ** 2).sum().clamp_min(1e-12)

    def similarity(one: Tensor, other: Tensor) -> Tensor:
        squares = (one**2).sum(1)[:, None] + (other**2).sum(1) - 2 * one @ other.T
        return torch.stack(
            [torch.exp(-squares.clamp_min(0) / (width * spread)) for width in _BANDWIDTHS]
        ).mean(0)

    real, synthetic = real - mean, synthetic - mean  # short vectors have exact differences
    within = real_share @ similarity(real, real) @ real_share
    within = within + synthetic_share @ similarity(synthetic, synthetic) @ synthetic_share
    return within - 2 * real_share @ similarity(real, synthetic) @ synthetic_share


DISTANCES: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "mean": mean_distance,
    "rbf": rbf_distance,
}


class RandomNetwork:
    """A convolutional network with random weights that reads a window and its targets.

    Two convolutions of three steps, then one linear map of all steps, so that the features depend
    on the position in time.

    Parameters
    ----------
    n_features : int
        F.
    n_steps : int
        T.
    width : int
        Channels, and H.
    generator : torch.Generator
        Draws the weights.
    dtype, device : torch.dtype, torch.device
        Of the weights, which are drawn on the CPU.
    """

    def __init__(
        self,
        *,
        n_features: int,
        n_steps: int,
        width: int,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        def draw(*shape: int) -> tuple[Tensor, Tensor]:
            weight = torch.randn(shape, generator=generator) * math.sqrt(2 / math.prod(shape[1:]))
            bias = torch.randn(shape[0], generator=generator) * 0.5
            return weight.to(device, dtype), bias.to(device, dtype)

        self.first = draw(width, n_features, 3)
        self.second = draw(width, width, 3)
        self.last = draw(width, width * n_steps)

    def __call__(self, sequence: Tensor) -> Tensor:
        """Return features (n, H) of sequences (n, F, T)."""
        h = torch.relu(functional.conv1d(sequence, *self.first, padding=1))
        h = torch.relu(functional.conv1d(h, *self.second, padding=1))  # (n, H, T)
        return functional.linear(h.flatten(1), *self.last)


def joined_sequence(x: Tensor, y: Tensor, n_targets: int, *, held: bool = False) -> Tensor:
    """Join inputs and targets in time; features that are not targets are 0 in the future.

    Parameters
    ----------
    x : Tensor
        (B, L_in, N, F), of which the first C features are the targets.
    y : Tensor
        (n, C * L_out) rows of targets.
    n_targets : int
        C.
    held : bool
        Whether features that are not targets keep their last value in the future instead.

    Returns
    -------
    Tensor
        (n, F, T).
    """
    past = x.permute(0, 2, 3, 1).flatten(0, 1)  # (n, F, L_in)
    future = y.view(len(y), n_targets, -1)  # (n, C, L_out)
    others = past[:, n_targets:, -1:].expand(-1, -1, future.shape[2])
    others = others if held else torch.zeros_like(others)
    return torch.cat([past, torch.cat([future, others], dim=1)], dim=2)


def paired_sequences(
    real: TensorWindows,
    synthetic: TensorWindows,
    generator: torch.Generator,
    *,
    held: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the joined sequences of real and synthetic samples, with gaps equally frequent.

    Where targets are missing in a sample, they are 0 in it, and in a random sample of the other
    set, too.

    Parameters
    ----------
    real, synthetic : TensorWindows
        Of B windows and N locations, which may differ.
    generator : torch.Generator
        Draws the samples whose gaps are taken over.
    held : bool
        As in :func:`joined_sequence`.

    Returns
    -------
    Tensor, Tensor
        (n, F, T) of each, sample after sample as :func:`sample_rows` gives them.
    """
    masks = sample_rows(real.mask), sample_rows(synthetic.mask)  # (n, C * L_out)
    seen = [
        mask * other[torch.randint(len(other), (len(mask),), generator=generator)]
        for mask, other in zip(masks, masks[::-1], strict=True)
    ]
    one, two = (
        joined_sequence(each.x, sample_rows(each.y) * observed, real.n_targets, held=held)
        for each, observed in zip((real, synthetic), seen, strict=True)
    )
    return one, two


def sample_shares(weight: Tensor, n_windows: int) -> Tensor:
    """Return the shares (n,), of sum 1, of samples of locations with weights (N,).

    >>> sample_shares(torch.tensor([1.0, 3.0]), 2).tolist()
    [0.125, 0.375, 0.125, 0.375]
    """
    return (weight / (weight.sum() * n_windows)).repeat(n_windows)


class DistributionMatching(Synthesizer):
    """Synthetic windows whose joint distribution of inputs and targets is that of real windows.

    Every window of a location is a sample. In each step a fresh random network maps real and
    synthetic samples, inputs and targets together, to features, and the learned tensors take an
    Adam step down the distance between the two sets of features. No network is trained.

    Samples are weighted by location. Where targets are missing in a sample, they are masked in a
    random sample of the other set too, so that gaps are equally frequent in both.

    Parameters
    ----------
    iterations : int
        Outer iterations; after each the validation error is measured.
    steps : int
        Steps per iteration.
    distance : str
        ``rbf``, or ``mean`` as in the paper.
    width : int
        Features and channels of a network.
    learning_rate : float
        Of Adam on the learned tensors.
    batch_windows, batch_locations : int
        Windows and locations of a real batch, at most.
    synthetic_samples : int
        Synthetic samples of a step, at most; drawn at random where there are more.
    relabel : float
        Share of the soft labels that enters ``y`` after each iteration.
    """

    def __init__(
        self,
        *,
        iterations: int = 10,
        steps: int = 40,
        distance: str = "rbf",
        width: int = 32,
        learning_rate: float = 1e-2,
        batch_windows: int = 64,
        batch_locations: int = 16,
        synthetic_samples: int = 1024,
        relabel: float = 0.0,
    ) -> None:
        self.iterations = iterations
        self.steps = steps
        self.distance = distance
        self.width = width
        self.learning_rate = learning_rate
        self.batch_windows = batch_windows
        self.batch_locations = batch_locations
        self.synthetic_samples = synthetic_samples
        self.relabel = relabel

    def optimizer(self, tensors: Sequence[Tensor]) -> torch.optim.Optimizer:
        """Return Adam over the learned tensors, after checking the parameters."""
        for name in ("steps", "width", "batch_windows", "batch_locations", "synthetic_samples"):
            check_count(name, getattr(self, name))
        check_count("iterations", self.iterations, minimum=0)
        check_rates({"learning_rate": self.learning_rate}, self.relabel)
        if self.distance not in DISTANCES:
            raise unknown_name("distance", self.distance, DISTANCES)
        return torch.optim.Adam(tensors, lr=self.learning_rate)

    def improve(
        self, problem: DistillationProblem, synthetic: SyntheticState, generator: torch.Generator
    ) -> float:
        """Match the features of ``steps`` random networks and return the mean distance."""
        losses = []
        for _ in range(self.steps):
            value = self._distance(problem, synthetic, generator)
            gradients = torch.autograd.grad(value, synthetic.tensors, materialize_grads=True)
            synthetic.step(gradients)
            losses.append(float(value.detach()))
        mean = sum(losses) / len(losses)
        return mean if math.isfinite(mean) else math.inf

    def _distance(
        self, problem: DistillationProblem, synthetic: SyntheticState, generator: torch.Generator
    ) -> Tensor:
        """Return the distance between a real batch and some of the synthetic samples."""
        start = problem.start
        batch, _ = problem.real_batch(
            self.batch_windows, self.batch_locations, generator, pointwise=True
        )
        windows, locations = random_part(
            len(start), start.n_locations, self.synthetic_samples, generator
        )
        x, y = synthetic.windows()
        known = TensorWindows(
            x=problem.inputs(x)[windows][:, :, locations],
            y=y[windows][:, :, locations],
            mask=start.mask[windows][:, :, locations],
            weight=start.weight[locations],
            targets=start.n_targets,
        )
        real, made = paired_sequences(batch, known, generator)
        network = RandomNetwork(
            n_features=real.shape[1],
            n_steps=real.shape[2],
            width=self.width,
            generator=generator,
            dtype=real.dtype,
            device=real.device,
        )
        return DISTANCES[self.distance](
            network(real),
            network(made),
            sample_shares(batch.weight, len(batch)),
            sample_shares(known.weight, len(known)),
        )
