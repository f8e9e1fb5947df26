"""Sparse matrix products with a learned adjacency, differentiable any number of times.

Shapes: B windows, N locations, E stored pairs, D columns of a window, R code columns.

The two products are each other's derivatives, so their backward passes call one another:

- ``spmm``: ``out[b, i] = sum over pairs (i, j) of values[ij] * dense[b, j]``;
- ``sddmm``: ``out[ij] = sum over b of <left[b, i], right[b, j]>``.

Both take one window after the other: its (N, D) block is contiguous and small enough for the
cache, and no (E, D) or (N, N) tensor ever exists.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from stemdist.errors import check_count

with warnings.catch_warnings():
    # torch announces once per process that CSR tensors are in beta; nothing a user can act on.
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
    torch.sparse_csr_tensor([0, 1], [0], [1.0], (1, 1), check_invariants=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pattern:
    """Which pairs (row, column) of an N x N matrix are stored, sorted by row.

    Parameters
    ----------
    rows, cols : Tensor
        (E,) int64; ``rows`` ascends.
    size : int
        N.
    """

    rows: Tensor
    cols: Tensor
    size: int

    @cached_property
    def row_starts(self) -> Tensor:
        """(N + 1,) first pair of each row, and E."""
        ends = torch.bincount(self.rows, minlength=self.size).cumsum(0)
        return torch.cat([ends.new_zeros(1), ends])

    @cached_property
    def transposed(self) -> tuple[Pattern, Tensor]:
        """The transposed pattern and the order (E,) that carries values over to it."""
        order = torch.argsort(self.cols, stable=True)
        return Pattern(rows=self.cols[order], cols=self.rows[order], size=self.size), order

    def repeated(self, count: int) -> tuple[Tensor, Tensor]:
        """Return columns (count * E,) and row starts (count * N,) of copies along the diagonal."""
        if count not in self._repeated:
            copies = torch.arange(count, device=self.cols.device)[:, None]
            self._repeated[count] = (
                (self.cols + copies * self.size).flatten(),
                (self.row_starts[:-1] + copies * len(self.cols)).flatten(),
            )
        return self._repeated[count]

    @cached_property
    def _repeated(self) -> dict[int, tuple[Tensor, Tensor]]:
        return {}

    def matrix(self, values: Tensor) -> Tensor:
        """Return the CSR matrix (N, N) with ``values`` (E,)."""
        return torch.sparse_csr_tensor(
            self.row_starts, self.cols, values, (self.size, self.size), check_invariants=False
        )


def _transpose_product(values: Tensor, dense: Tensor, pattern: Pattern) -> Tensor:
    turned, order = pattern.transposed
    return _apply_spmm(values.index_select(0, order), dense, turned)


def _spmm_in_csr(values: Tensor, dense: Tensor, pattern: Pattern) -> Tensor:
    matrix, out = pattern.matrix(values), torch.empty_like(dense)
    for window, block in zip(dense, out, strict=True):
        torch.addmm(block, matrix, window, beta=0, out=block)  # (N, N) @ (N, D)
    return out


class _Spmm(torch.autograd.Function):
    @staticmethod
    def forward(values: Tensor, dense: Tensor, pattern: Pattern) -> Tensor:
        if dense.device.type != "cpu":
            return _spmm_in_csr(values, dense.contiguous(), pattern)
        # A weighted sum of rows is an embedding bag, 2 to 3 times as fast as CSR.
        cols, row_starts = pattern.repeated(len(dense))
        rows = functional.embedding_bag(
            cols,
            dense.reshape(-1, dense.shape[2]),
            row_starts,
            mode="sum",
            per_sample_weights=values.repeat(len(dense)),
        )
        return rows.view_as(dense)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Pattern], output: Tensor) -> None:
        values, dense, ctx.pattern = inputs
        ctx.save_for_backward(values, dense)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        values, dense = ctx.saved_tensors
        for_values, for_dense, _ = ctx.needs_input_grad
        return (
            _apply_sddmm(grad, dense, ctx.pattern) if for_values else None,
            _transpose_product(values, grad, ctx.pattern) if for_dense else None,
            None,
        )


class _Sddmm(torch.autograd.Function):
    @staticmethod
    def forward(left: Tensor, right: Tensor, pattern: Pattern) -> Tensor:
        left, right = left.contiguous(), right.contiguous()
        total = pattern.matrix(left.new_zeros(len(pattern.cols)))
        for one, other in zip(left, right, strict=True):
            total = torch.sparse.sampled_addmm(total, one, other.T)  # (N, D) @ (D, N) at E pairs
        return total.values()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Pattern], output: Tensor) -> None:
        left, right, ctx.pattern = inputs
        ctx.save_for_backward(left, right)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        left, right = ctx.saved_tensors
        for_left, for_right, _ = ctx.needs_input_grad
        return (
            _apply_spmm(grad, right, ctx.pattern) if for_left else None,
            _transpose_product(grad, left, ctx.pattern) if for_right else None,
            None,
        )


_apply_spmm: Callable[[Tensor, Tensor, Pattern], Tensor] = _Spmm.apply
_apply_sddmm: Callable[[Tensor, Tensor, Pattern], Tensor] = _Sddmm.apply


def _working_dtype(dtype: torch.dtype) -> torch.dtype:
    # CPU sparse kernels support single and double precision only.
    return dtype if dtype in (torch.float32, torch.float64) else torch.float32


def spmm(values: Tensor, dense: Tensor, pattern: Pattern) -> Tensor:
    """Multiply a sparse (N, N) matrix with every window of ``dense``.

    Parameters
    ----------
    values : Tensor
        (E,) values of the stored pairs.
    dense : Tensor
        (B, N, D).
    pattern : Pattern
        The stored pairs.

    Returns
    -------
    Tensor
        (B, N, D), differentiable any number of times in ``values`` and ``dense``.

    Examples
    --------
    >>> swap = Pattern(rows=torch.tensor([0, 1]), cols=torch.tensor([1, 0]), size=2)
    >>> spmm(torch.tensor([1.0, 2.0]), torch.tensor([[[3.0], [4.0]]]), swap).tolist()
    [[[4.0], [6.0]]]
    """
    if torch.compiler.is_compiling():
        return _spmm_in_plain_steps(values, dense, pattern)
    dtype = _working_dtype(dense.dtype)
    return _apply_spmm(values.to(dtype), dense.to(dtype), pattern).to(dense.dtype)


def _spmm_in_plain_steps(values: Tensor, dense: Tensor, pattern: Pattern) -> Tensor:
    """Return :func:`spmm` by steps that exported programs have: it holds (E, B, D) numbers."""
    rows = dense.transpose(0, 1)  # (N, B, D)
    terms = values[:, None, None] * rows[pattern.cols]  # (E, B, D)
    out = torch.zeros_like(rows).index_put((pattern.rows,), terms, accumulate=True)
    return out.transpose(0, 1)


def sddmm(left: Tensor, right: Tensor, pattern: Pattern) -> Tensor:
    """Compute the stored pairs of ``sum over windows of left right^T``.

    Parameters
    ----------
    left, right : Tensor
        (B, N, D).
    pattern : Pattern
        The stored pairs.

    Returns
    -------
    Tensor
        (E,), differentiable any number of times in ``left`` and ``right``.

    Examples
    --------
    >>> swap = Pattern(rows=torch.tensor([0, 1]), cols=torch.tensor([1, 0]), size=2)
    >>> x = torch.tensor([[[3.0], [4.0]]])
    >>> sddmm(x, x, swap).tolist()
    [12.0, 12.0]
    """
    dtype = _working_dtype(left.dtype)
    return _apply_sddmm(left.to(dtype), right.to(dtype), pattern).to(left.dtype)


@torch.no_grad()
def top_k_products(left: Tensor, right: Tensor, k: int, block_rows: int | None = None) -> Tensor:
    """Find the k highest entries of each row of ``left right^T``.

    Entries are made ``block_rows`` rows at a time, so no (N, N) tensor exists, and half
    precision is worked in single. Long rows are searched in two exact steps, twice as fast as
    one: the k chunks with the highest maxima contain the k highest entries.

    Parameters
    ----------
    left : Tensor
        (M, R), one row per search.
    right : Tensor
        (N, R), what is searched.
    k : int
        Entries per row; all N where ``N <= k``.
    block_rows : int, optional
        Rows held at a time; by default as many as stay in the cache.

    Returns
    -------
    Tensor
        (M, min(k, N)) int64 columns, highest entry first.

    Examples
    --------
    >>> top_k_products(torch.eye(2), torch.tensor([[1.0, 6.0], [3.0, 4.0], [5.0, 2.0]]), k=2)
    tensor([[2, 1],
            [0, 1]])
    """
    dtype = _working_dtype(left.dtype)
    n = len(right)
    k = min(check_count("k", k), n)
    if block_rows is None:
        block_rows = min(max(_BLOCK // n, 16), 64)
    block_rows = check_count("block_rows", block_rows)
    left = left.to(dtype)
    right = functional.pad(right.to(dtype), (0, 0, 0, -n % _CHUNK)).T  # (R, whole chunks)
    # One buffer for all blocks: fresh memory for each would take a quarter longer.
    buffer = left.new_empty(min(block_rows, len(left)), right.shape[1])
    chosen = []
    for block in torch.split(left, block_rows):
        scores = torch.mm(block, right, out=buffer[: len(block)])
        scores[:, n:] = -torch.inf
        chosen.append(_top_k(scores, k))
    return torch.cat(chosen)


# Measured at N = 1,617, 8,600 and 50,000:
_CHUNK = 16  # columns
_BLOCK = 2**20  # entries


def _top_k(scores: Tensor, k: int) -> Tensor:
    """Return the columns (n, k) of the highest scores of each row of (n, whole chunks)."""
    chunks = scores.shape[1] // _CHUNK
    if chunks < 5 * k:  # the candidates would be a large part of the row
        return scores.topk(k, dim=1).indices
    # Chunk c is the columns c, c + chunks, c + 2 chunks ...: maxima of whole rows are fast.
    maxima = scores.view(-1, _CHUNK, chunks).amax(1)  # (n, chunks)
    best = maxima.topk(k, dim=1, sorted=False).indices  # (n, k)
    first = torch.arange(0, scores.shape[1], chunks, device=scores.device)
    candidates = (best[:, :, None] + first).flatten(1)  # (n, 16 k)
    return candidates.gather(1, scores.gather(1, candidates).topk(k, dim=1).indices)


def top_k_rows(
    source_code: Tensor, target_code: Tensor, k: int, block_rows: int | None = None
) -> Tensor:
    """Find each location's k highest scores ``e1_i . e2_j - e2_i . e1_j``.

    Parameters
    ----------
    source_code, target_code : Tensor
        (N, R) codes e1 and e2.
    k, block_rows
        As in :func:`top_k_products`.

    Returns
    -------
    Tensor
        (N, min(k, N)) int64 location numbers.

    Examples
    --------
    >>> e1, e2 = torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0], [1.0]])
    >>> top_k_rows(e1, e2, k=1).tolist()
    [[1], [1]]
    """
    left, right = _score_factors(source_code, target_code)
    return top_k_products(left, right, k, block_rows)


def _score_factors(source_code: Tensor, target_code: Tensor) -> tuple[Tensor, Tensor]:
    """Return (N, 2R) and (N, 2R) whose products are the scores of :func:`top_k_rows`."""
    left = torch.cat([source_code, -target_code], dim=1)
    right = torch.cat([target_code, source_code], dim=1)
    return left, right


def pair_weights(
    source_code: Tensor, target_code: Tensor, neighbours: Tensor, saturation: float = 3.0
) -> Tensor:
    """Weigh chosen pairs: ``relu(tanh(saturation (e1_i . e2_j - e2_i . e1_j)))``.

    Wu et al., MTGNN, KDD 2020, section 4.2, equation 3, for the chosen pairs only.

    Parameters
    ----------
    source_code, target_code : Tensor
        (N, R) codes e1 and e2.
    neighbours : Tensor
        (N, k) as :func:`top_k_rows` returns.
    saturation : float
        Slope of the tanh.

    Returns
    -------
    Tensor
        (N, k), differentiable in both codes.

    Examples
    --------
    >>> e1, e2 = torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0], [1.0]])
    >>> pair_weights(e1, e2, torch.tensor([[1], [1]])).round(decimals=3).tolist()
    [[0.9950000047683716], [0.0]]
    """
    left, right = _score_factors(source_code, target_code)
    score = (left[:, None] * right[neighbours]).sum(-1)  # (N, k)
    return torch.relu(torch.tanh(saturation * score))
