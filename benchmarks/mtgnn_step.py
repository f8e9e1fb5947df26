"""Time one MTGNN training step against the dense formulation of the published code.

Run ``python benchmarks/mtgnn_step.py`` (minutes), or with ``--quick`` (seconds). The reference
has dense (N, N) mix-hop propagation in both directions and eight separate convolutions per
layer; both sides share every parameter, and their forecasts are compared before anything is
timed. Each timed step is forward, mean squared error, backward and an AdamW update, with
dropout.

Each side runs in a separate process. They alternate every few seconds, after at least one step, so
that a busy machine slows both equally. The ratio is that of the medians of processor seconds per
step, which other programs disturb least; ``wall`` is the ratio of the fastest turns by the clock.
The memory is the peak of each process, interpreter and libraries included.

``--crossover`` times the sparse against the dense adjacency of stemdist's forecaster instead, the
measurement behind ``stemdist.forecast.layers.products.SPARSE_FROM``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F  # noqa: N812
from isolated_process import Alone, hardware, peak_gib, prepare, timed
from torch import Tensor
from torch_geometric.data import Data

from stemdist.forecast.forecasters.mtgnn import MTGNNForecaster
from stemdist.forecast.layers.inception import DilatedInception
from stemdist.forecast.layers.mix_hop import MixHop

LOOKBACK, HORIZON, FEATURES = 12, 12, 2
FULL, QUICK = "207x64,1617x32,8600x4", "100x16,400x8"

TURN_SECONDS = 8.0
SIDES = ("ours", "dense")


def reference_adjacency(forecaster: MTGNNForecaster, profile: Tensor) -> list[Tensor]:
    """Return the learned adjacency along and against its edges, dense (N, N), rows summing to 1."""
    slope = forecaster.saturation
    e1 = torch.tanh(slope * forecaster.source_encoder(profile))
    e2 = torch.tanh(slope * forecaster.target_encoder(profile))
    score = e1 @ e2.T - e2 @ e1.T
    mask = torch.zeros_like(score)
    chosen = score.topk(min(forecaster.neighbours, len(score)), dim=1).indices
    mask.scatter_(1, chosen, 1.0)
    learned = torch.relu(torch.tanh(slope * score)) * mask
    with_loops = [matrix + torch.eye(len(matrix)) for matrix in (learned, learned.T)]
    return [matrix / matrix.sum(1, keepdim=True) for matrix in with_loops]


def reference_inception(layer: DilatedInception, h: Tensor) -> Tensor:
    """Return (B, C, N, T - 6) by eight separate convolutions."""
    filters, gates = [], []
    for weight, bias in zip(layer.weights, layer.biases, strict=True):
        for part, out in ((slice(None, layer.share), filters), (slice(layer.share, None), gates)):
            out.append(F.conv2d(h, weight[part].unsqueeze(2), bias[part]))
    steps = filters[-1].shape[-1]
    signal, gate = (torch.cat([o[..., -steps:] for o in outs], 1) for outs in (filters, gates))
    return torch.tanh(signal) * torch.sigmoid(gate)


def reference_mix_hop(layer: MixHop, h: Tensor, adjacency: list[Tensor]) -> Tensor:
    """Return (B, C, N, T) by dense products, both directions."""
    total = torch.zeros(())
    for linear, matrix in zip((layer.along, layer.against), adjacency, strict=True):
        states = [h]
        for _ in range(linear.weight.shape[1] // layer.channels_in - 1):
            spread = torch.einsum("bcwt,vw->bcvt", states[-1], matrix).contiguous()
            states.append(layer.retain * h + (1 - layer.retain) * spread)
        total = total + F.conv2d(torch.cat(states, 1), linear.weight[..., None, None], linear.bias)
    return total


def reference_forward(forecaster: MTGNNForecaster, x: Tensor, profile: Tensor) -> Tensor:
    """Forecast (B, L_out, N) in the (B, C, N, T) layout of the published code."""

    def dropout(h: Tensor) -> Tensor:
        return F.dropout(h, forecaster.input_dropout.share, forecaster.training)

    def over_time(h: Tensor, linear: torch.nn.Linear) -> Tensor:
        kernel = linear.weight.unflatten(1, (h.shape[3], h.shape[1])).transpose(1, 2)
        return F.conv2d(h, kernel.unsqueeze(2), linear.bias)  # (B, S, N, 1)

    adjacency = reference_adjacency(forecaster, profile)
    x = x.permute(0, 3, 2, 1).contiguous()  # (B, F, N, L_in)
    skip = over_time(dropout(x), forecaster.input_skip)
    h = F.pad(x, (forecaster.steps - forecaster.lookback, 0))
    h = F.conv2d(h, forecaster.start.weight[..., None, None], forecaster.start.bias)
    for block in forecaster.blocks:
        residual = h
        h = dropout(reference_inception(block.inception, h))
        skip = skip + over_time(h, block.skip)
        h = reference_mix_hop(block.mix_hop, h, adjacency)
        h = (h + residual[..., -h.shape[3] :]).permute(0, 2, 3, 1)
        h = block.norm(h).permute(0, 3, 1, 2).contiguous()
    skip = skip + over_time(h, forecaster.last_skip)
    for layer in forecaster.end:
        if isinstance(layer, torch.nn.Linear):
            skip = F.conv2d(skip, layer.weight[..., None, None], layer.bias)
        else:
            skip = layer(skip)
    return skip[..., 0]


def example(n: int, b: int) -> tuple[MTGNNForecaster, Tensor, Tensor, Tensor]:
    """Return a forecaster and random windows, profile and targets."""
    torch.manual_seed(0)
    forecaster = MTGNNForecaster(lookback=LOOKBACK, horizon=HORIZON, n_features=FEATURES)
    x = torch.randn(b, LOOKBACK, n, FEATURES)
    profile = torch.randn(n, LOOKBACK * FEATURES)
    return forecaster, x, profile, torch.randn(b, HORIZON, n)


class Side:
    """One formulation with its example and optimizer."""

    def __init__(self, side: str, n: int, b: int) -> None:
        self.forecaster, self.x, self.profile, self.y = example(n, b)
        self.forward: Callable[[Tensor], Tensor] = (
            (lambda x: self.forecaster(x, Data(num_nodes=n), self.profile))
            if side == "ours"
            else (lambda x: reference_forward(self.forecaster, x, self.profile))
        )
        self.optimizer = torch.optim.AdamW(self.forecaster.parameters(), lr=1e-4)

    def one_forecast(self) -> Tensor:
        """Return the forecast of the first window, without dropout."""
        self.forecaster.eval()
        with torch.no_grad():
            forecast = self.forward(self.x[:1])
        self.forecaster.train()
        return forecast

    def step(self) -> None:
        """Make one training step."""
        self.optimizer.zero_grad()
        F.mse_loss(self.forward(self.x), self.y).backward()
        self.optimizer.step()


_here: dict[str, Side] = {}  # the one side of a process


def begin(side: str, n: int, b: int) -> list[float]:
    """Set up a side in this process and return its forecast of one window, flat."""
    _here["side"] = Side(side, n, b)
    return _here["side"].one_forecast().flatten().tolist()


def timed_turn() -> tuple[float, float]:
    """Return the seconds and the processor seconds per step of this process's side."""
    steps: list[tuple[float, float]] = []
    while sum(seconds for seconds, _ in steps) < TURN_SECONDS:
        steps.append(timed(_here["side"].step))
    wall, processor = (sum(each) / len(steps) for each in zip(*steps, strict=True))
    return wall, processor


def compare(n: int, b: int, repeats: int, start: Callable[[], Alone]) -> str:
    """Return a table row: steps of both sides, their ratios and peak memory."""
    with ExitStack() as stack:
        sides = {side: stack.enter_context(start()) for side in SIDES}
        ours, dense = (torch.tensor(sides[side](begin, side, n, b)) for side in SIDES)
        difference = float((ours - dense).abs().max())
        if difference > 1e-5:
            sys.exit(f"the two formulations differ by {difference:.1e} at N = {n}")
        steps: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}
        for _ in range(repeats + 1):
            for side in SIDES:
                steps[side].append(sides[side](timed_turn))
        # The first turn warms up.
        wall = [min(seconds for seconds, _ in steps[side][1:]) for side in SIDES]
        processor = [median(seconds for _, seconds in steps[side][1:]) for side in SIDES]
        peak = [sides[side](peak_gib) for side in SIDES]
    return (
        f"{n:6} {b:4} {processor[0]:8.2f} {processor[1]:8.2f} {processor[1] / processor[0]:6.2f} "
        f"{wall[1] / wall[0]:6.2f} {peak[0]:9.2f} {peak[1]:10.2f} "
        f"{peak[0] / peak[1]:6.2f} {difference:10.1e}"
    )


def crossover(repeats: int) -> None:
    """Print our step with the sparse and the dense adjacency for growing N."""
    print("     N    B  sparse s  dense s")
    for n in (30, 60, 100, 150, 200, 300, 400):
        side = Side("ours", n, 32)
        seconds = []
        for side.forecaster.adjacency in ("sparse", "dense"):
            side.step()
            seconds.append(min(timed(side.step)[1] for _ in range(repeats)))
        print(f"{n:6} {32:4} {seconds[0]:9.3f} {seconds[1]:8.3f}", flush=True)


def main() -> None:
    """Read the command line and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default=FULL, help=f"NxB, comma separated; default {FULL}")
    parser.add_argument("--quick", action="store_true", help=f"only {QUICK}")
    parser.add_argument("--crossover", action="store_true", help="sparse against dense adjacency")
    parser.add_argument("--threads", type=int, default=1, help="default 1")
    parser.add_argument("--repeats", type=int, default=3, help="timed turns; default 3")
    parser.add_argument(
        "--keep-freed-memory", action="store_true", help="glibc only: do not return freed memory"
    )
    options = parser.parse_args()
    print(hardware(options.threads))
    if options.crossover:
        prepare(options.threads, options.keep_freed_memory)
        crossover(options.repeats)
        return
    start = partial(Alone, options.threads, keep_memory=options.keep_freed_memory)
    print("     N    B   ours s  dense s  ratio   wall  ours GiB  dense GiB  share difference")
    for size in (QUICK if options.quick else options.sizes).split(","):
        n, b = map(int, size.split("x"))
        # A step of the dense formulation takes minutes at the largest size.
        repeats = min(options.repeats, 2) if n > 5000 else options.repeats
        try:
            print(compare(n, b, repeats, start), flush=True)
        except BrokenProcessPool:
            print(f"{n:6} {b:4} a process was ended: too little memory for this size", flush=True)


if __name__ == "__main__":
    main()
