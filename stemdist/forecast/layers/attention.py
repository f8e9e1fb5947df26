"""Multi-head attention over any number of tokens, in full or through landmarks.

Written out as matmul, softmax, matmul, because the fused kernels have no double backward on CPU.

Shapes: B sets of tokens, n queries, N tokens, C columns of a token, G heads, D = C / G.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from stemdist.errors import InputError, check_count, unknown_name
from stemdist.forecast.layers.dropout import FastDropout

SCORES = 2**24
"""Scores held at a time (64 MiB in single precision); more are computed in blocks."""


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return ``softmax(query key^T / sqrt(D)) value``.

    Vaswani et al., *Attention Is All You Need*, NeurIPS 2017, section 3.2.1, equation 1.

    Parameters
    ----------
    query : Tensor
        (..., n, D).
    key, value : Tensor
        (..., N, D).

    Returns
    -------
    Tensor
        (..., n, D).

    Examples
    --------
    >>> one = torch.ones(1, 1)
    >>> attend(one, torch.tensor([[0.0], [0.0]]), torch.tensor([[2.0], [4.0]])).item()
    3.0
    """
    # Scaling the queries instead of the scores touches fewer numbers.
    scores = (query / math.sqrt(query.shape[-1])) @ key.mT  # (..., n, N)
    return scores.softmax(dim=-1) @ value


def attend_in_blocks(query: Tensor, key: Tensor, value: Tensor, scores: int = SCORES) -> Tensor:
    """Return :func:`attend` of the same arguments in memory linear in n and N.

    Queries are taken in blocks whose scores are recomputed in the backward pass, which works
    for derivatives of any order. Time stays that of ``B n N`` scores.

    Parameters
    ----------
    query, key, value : Tensor
        (B, n, D), (B, N, D) and (B, N, D).
    scores : int
        Scores held at a time, or those of one query where these are more.

    Examples
    --------
    >>> h = torch.randn(2, 5, 3)
    >>> torch.allclose(attend_in_blocks(h, h, h, scores=7), attend(h, h, h), atol=1e-6)
    True
    """
    if torch.compiler.is_compiling():  # an exported program serves any number of windows at once
        return attend(query, key, value)
    rows = max(1, min(query.shape[1], scores // key.shape[1]))  # queries in a block
    sets = max(1, scores // (rows * key.shape[1]))  # their sets of tokens
    if rows >= query.shape[1] and sets >= len(query):
        return attend(query, key, value)
    parts = []
    for q, k, v in zip(*(torch.split(part, sets) for part in (query, key, value)), strict=True):
        parts.append(torch.cat([_recomputed(block, k, v) for block in torch.split(q, rows, 1)], 1))
    return torch.cat(parts)


def _recomputed(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        return attend(query, key, value)
    out: Tensor = checkpoint(
        attend, query, key, value, use_reentrant=False, preserve_rng_state=False
    )
    return out


class MultiHeadAttention(nn.Module):
    """Each token reads all tokens of its set, or of another one, once per head.

    Vaswani et al., NeurIPS 2017, section 3.2.2. A bias of the keys would shift all scores of
    a query alike, and one of the values would add to the output's: both are left out.

    Parameters
    ----------
    columns : int
        C, a multiple of ``heads``.
    heads : int
        G.

    Examples
    --------
    >>> MultiHeadAttention(8, heads=2)(torch.zeros(3, 5, 8)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(self, columns: int, heads: int) -> None:
        super().__init__()
        self.heads = check_heads(heads, columns)
        self.query = nn.Linear(columns, columns)
        self.key = nn.Linear(columns, columns, bias=False)
        self.value = nn.Linear(columns, columns, bias=False)
        self.out = nn.Linear(columns, columns)

    def forward(self, h: Tensor, context: Tensor | None = None) -> Tensor:
        """Return (B, n, C) for tokens (B, n, C) that read (B, N, C), or themselves."""
        context = h if context is None else context
        query = self._split(self.query(h))  # (B G, n, D)
        key, value = self._split(self.key(context)), self._split(self.value(context))
        mixed = attend_in_blocks(query, key, value)  # (B G, n, D)
        mixed = mixed.view(h.shape[0], self.heads, *mixed.shape[1:]).transpose(1, 2)
        out: Tensor = self.out(mixed.flatten(2))
        return out

    def _split(self, h: Tensor) -> Tensor:
        b, n, columns = h.shape
        return h.view(b, n, self.heads, columns // self.heads).transpose(1, 2).flatten(0, 1)


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them, on every token separately.

    Parameters
    ----------
    columns, hidden : int
        C and the columns between the layers.
    dropout : float
        Share set to zero after each layer, in [0, 1).
    """

    def __init__(self, columns: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Linear(columns, hidden)
        self.outer = nn.Linear(hidden, columns)
        self.dropout = FastDropout(dropout)

    def forward(self, h: Tensor) -> Tensor:
        """Return (..., C) for (..., C)."""
        inner = self.dropout(functional.gelu(self.inner(h)))
        out: Tensor = self.dropout(self.outer(inner))
        return out


class EncoderBlock(nn.Module):
    """Attention and feed forward, each with dropout, residual and then layer norm.

    Vaswani et al., NeurIPS 2017, section 3.1. With :class:`MultiHeadAttention` and a context
    it is the MAB of Lee et al., *Set Transformer*, ICML 2019, section 3.1.

    Parameters
    ----------
    attention : torch.nn.Module
        Maps (B, n, C), and whatever else ``forward`` is given, to (B, n, C).
    columns, hidden : int
        C and the columns inside the feed forward.
    dropout : float
        Share in [0, 1).

    Examples
    --------
    >>> block = EncoderBlock(MultiHeadAttention(8, heads=2), 8, 16, dropout=0.1)
    >>> block(torch.zeros(3, 5, 8)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(self, attention: nn.Module, columns: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention = attention
        self.attention_norm = nn.LayerNorm(columns)
        self.feed_forward = FeedForward(columns, hidden, dropout)
        self.norm = nn.LayerNorm(columns)
        self.dropout = FastDropout(dropout)

    def forward(self, h: Tensor, *context: Tensor) -> Tensor:
        """Return (B, n, C) for (B, n, C)."""
        h = self.attention_norm(h + self.dropout(self.attention(h, *context)))
        out: Tensor = self.norm(h + self.feed_forward(h))
        return out


class LandmarkAttention(nn.Module):
    """Tokens read m learned landmarks that have read all tokens: time linear in N.

    Lee et al., *Set Transformer*, ICML 2019, section 3.1: the inducing points of ISAB. An
    :class:`EncoderBlock` around this layer is the whole ISAB.

    Parameters
    ----------
    columns, heads : int
        C, a multiple of G, and G.
    landmarks : int
        m.
    hidden : int
        Columns inside the landmarks' feed forward.
    dropout : float
        Share of the landmarks' updates set to zero in training, in [0, 1).

    Examples
    --------
    >>> LandmarkAttention(8, 2, landmarks=4, hidden=16)(torch.zeros(3, 5, 8)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(
        self, columns: int, heads: int, *, landmarks: int, hidden: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.landmarks = nn.Parameter(torch.empty(check_count("landmarks", landmarks), columns))
        nn.init.xavier_uniform_(self.landmarks)
        self.collect = EncoderBlock(MultiHeadAttention(columns, heads), columns, hidden, dropout)
        self.read = MultiHeadAttention(columns, heads)

    def forward(self, h: Tensor) -> Tensor:
        """Return (B, N, C) for (B, N, C)."""
        landmarks = self.landmarks.expand(h.shape[0], -1, -1)  # (B, m, C)
        out: Tensor = self.read(h, self.collect(landmarks, h))
        return out


ATTENTIONS = ("full", "landmark")
"""Kinds of attention among all tokens: in full, or through landmarks."""


def make_attention(
    name: str, columns: int, heads: int, *, landmarks: int, hidden: int, dropout: float
) -> nn.Module:
    """Build attention among all tokens by name.

    Parameters
    ----------
    name : str
        ``"full"`` (time quadratic in N) or ``"landmark"`` (linear).
    columns, heads, landmarks, hidden, dropout
        As of :class:`LandmarkAttention`; full attention has the first two only.

    Raises
    ------
    InputError
        If the name is unknown; the message lists the valid ones.

    Examples
    --------
    >>> attention = make_attention("full", 8, 2, landmarks=4, hidden=16, dropout=0.0)
    >>> type(attention).__name__
    'MultiHeadAttention'
    """
    if name not in ATTENTIONS:
        raise unknown_name("attention", name, ATTENTIONS)
    if name == "full":
        return MultiHeadAttention(columns, heads)
    return LandmarkAttention(columns, heads, landmarks=landmarks, hidden=hidden, dropout=dropout)


def check_heads(heads: int, columns: int) -> int:
    """Return ``heads`` if as many equal parts make up ``columns``, else raise InputError."""
    if columns % check_count("heads", heads):
        valid = [h for h in (1, 2, 4, 8, 16) if columns % h == 0]
        raise InputError(
            f"heads is {heads}: {columns} hidden columns cannot be split evenly among as many; "
            f"choose e.g. {', '.join(map(str, valid))}"
        )
    return heads
