"""Time one MTGNN training step against the dense formulation of the published code.

Run ``python benchmarks/mtgnn_step.py`` (minutes), or with ``--quick`` (seconds). Both sides
share every parameter; their outputs are compared before anything is timed. Each timed step is
forward, mean squared error, backward and an AdamW update, with dropout.

``--crossover`` times the sparse against the dense adjacency of our own forecaster instead, the
measurement behind ``stemdist.forecast.layers.products.SPARSE_FROM``.
"""

from __future__ import annotations

import argparse
import ctypes
import platform
import resource
import sys
import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch_geometric.data import Data

from stemdist.forecast.forecasters.mtgnn import MTGNNForecaster
from stemdist.forecast.layers import DilatedInception, MixHop

LOOKBACK, HORIZON, FEATURES = 12, 12, 2
FULL, QUICK = "207x64,1617x32", "100x16,400x8"
WANTED = {207: 2.5, 1617: 5.0}  # ambition: times faster than the dense formulation


def reference_adjacency(forecaster: MTGNNForecaster, profile: Tensor) -> Tensor:
    """Return the learned adjacency as a dense (N, N) tensor with a top-k mask."""
    slope = forecaster.saturation
    e1 = torch.tanh(slope * forecaster.source_encoder(profile))
    e2 = torch.tanh(slope * forecaster.target_encoder(profile))
    score = e1 @ e2.T - e2 @ e1.T
    mask = torch.zeros_like(score)
    chosen = score.topk(min(forecaster.neighbours, len(score)), dim=1).indices
    mask.scatter_(1, chosen, 1.0)
    return torch.relu(torch.tanh(slope * score)) * mask


def reference_inception(layer: DilatedInception, h: Tensor) -> Tensor:
    """Return (B, C, N, T - 6) by eight separate convolutions."""
    filters, gates = [], []
    for weight, bias in zip(layer.weights, layer.biases, strict=True):
        for part, out in ((slice(None, layer.share), filters), (slice(layer.share, None), gates)):
            out.append(F.conv2d(h, weight[part].unsqueeze(2), bias[part]))
    steps = filters[-1].shape[-1]
    signal, gate = (torch.cat([o[..., -steps:] for o in outs], 1) for outs in (filters, gates))
    return torch.tanh(signal) * torch.sigmoid(gate)


def reference_mix_hop(layer: MixHop, h: Tensor, adjacency: Tensor) -> Tensor:
    """Return (B, C, N, T) by dense products, both directions."""
    total = torch.zeros(())
    for linear, matrix in ((layer.along, adjacency), (layer.against, adjacency.T)):
        matrix = matrix + torch.eye(len(matrix), dtype=h.dtype)
        matrix = matrix / matrix.sum(1, keepdim=True)
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


def step_seconds(
    forecaster: MTGNNForecaster, forecast: Callable[[], Tensor], y: Tensor, repeats: int
) -> float:
    """Return the median seconds of one training step, after one warm-up step."""
    optimizer = torch.optim.AdamW(forecaster.parameters(), lr=1e-4)
    seconds = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        optimizer.zero_grad()
        F.mse_loss(forecast(), y).backward()
        optimizer.step()
        seconds.append(time.perf_counter() - begin)
    return sorted(seconds[1:])[(repeats - 1) // 2]


def example(n: int, b: int) -> tuple[MTGNNForecaster, Tensor, Tensor, Tensor]:
    """Return a forecaster and random windows, profile and targets."""
    torch.manual_seed(0)
    forecaster = MTGNNForecaster(lookback=LOOKBACK, horizon=HORIZON, n_features=FEATURES)
    x = torch.randn(b, LOOKBACK, n, FEATURES)
    profile = torch.randn(n, LOOKBACK * FEATURES)
    return forecaster, x, profile, torch.randn(b, HORIZON, n)


def largest_difference(forecaster: MTGNNForecaster, x: Tensor, profile: Tensor) -> float:
    """Return the largest difference of the two forecasts of one window."""
    forecaster.eval()
    with torch.no_grad():
        ours = forecaster(x[:1], Data(num_nodes=len(profile)), profile)
        theirs = reference_forward(forecaster, x[:1], profile)
    forecaster.train()
    return float((ours - theirs).abs().max())


def compare(sizes: list[tuple[int, int]], repeats: int) -> None:
    """Print our step, the reference step and their ratio for each size."""
    print("     N    B   ours s  dense s  ratio  wanted  difference")
    for n, b in sizes:
        forecaster, x, profile, y = example(n, b)
        difference = largest_difference(forecaster, x, profile)
        if difference > 1e-5:
            sys.exit(f"the two formulations differ by {difference:.1e} at N = {n}")
        graph = Data(num_nodes=n)
        ours = step_seconds(forecaster, partial(forecaster, x, graph, profile), y, repeats)
        reference = partial(reference_forward, forecaster, x, profile)
        theirs = step_seconds(forecaster, reference, y, repeats)
        wanted = f">={WANTED[n]}" if n in WANTED else "-"
        row = f"{n:6} {b:4} {ours:8.2f} {theirs:8.2f} {theirs / ours:6.2f}"
        print(f"{row} {wanted:>7} {difference:11.1e}", flush=True)


def crossover(repeats: int) -> None:
    """Print our step with the sparse and the dense adjacency for growing N."""
    print("     N    B  sparse s  dense s")
    for n in (30, 60, 100, 150, 200, 300, 400):
        forecaster, x, profile, y = example(n, 32)
        forecast = partial(forecaster, x, Data(num_nodes=n), profile)
        seconds = []
        for forecaster.adjacency in ("sparse", "dense"):
            seconds.append(step_seconds(forecaster, forecast, y, repeats))
        print(f"{n:6} {32:4} {seconds[0]:9.3f} {seconds[1]:8.3f}", flush=True)


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks, so that large tensors are not mapped page by page again."""
    libc = ctypes.CDLL(None)
    libc.mallopt(-4, 0)  # M_MMAP_MAX
    libc.mallopt(-1, -1)  # M_TRIM_THRESHOLD


def hardware() -> str:
    """Return one line with the processor, threads and versions."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as lines:
            name = next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass  # not Linux: the name above will do
    return (
        f"{name}, {torch.get_num_threads()} thread(s), torch {torch.__version__}, "
        f"Python {platform.python_version()}"
    )


def main() -> None:
    """Read the command line and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default=FULL, help=f"NxB, comma separated; default {FULL}")
    parser.add_argument("--quick", action="store_true", help=f"only {QUICK}")
    parser.add_argument("--crossover", action="store_true", help="sparse against dense adjacency")
    parser.add_argument("--threads", type=int, default=1, help="default 1")
    parser.add_argument("--repeats", type=int, default=3, help="timed steps; default 3")
    parser.add_argument(
        "--keep-freed-memory", action="store_true", help="glibc only: do not return freed memory"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.keep_freed_memory:
        keep_freed_memory()
    print(hardware())
    if options.crossover:
        crossover(options.repeats)
    else:
        text = QUICK if options.quick else options.sizes
        sizes = [tuple(map(int, size.split("x"))) for size in text.split(",")]
        compare([(n, b) for n, b in sizes], options.repeats)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
