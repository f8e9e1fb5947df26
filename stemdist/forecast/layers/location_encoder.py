"""Location codes from location profiles, so that no parameter belongs to one location.

Shapes: N locations, P = L_in * F profile columns, H hidden columns, R code columns, M landmarks.
Source: Kwon et al., STemDist, ICDE 2026 (arXiv 2603.10410), location encoder.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from stemdist.errors import check_count, unknown_name
from stemdist.forecast.layers.attention import SCORES, attend, attend_in_blocks


class LocationEncoder(nn.Module, ABC):
    """Maps profiles (N, P) to location codes (N, R), the same way whatever N is."""

    pointwise: ClassVar[bool] = False
    """True if a location's code depends on its own profile only."""

    def __init__(self, profile_size: int, code_size: int) -> None:
        super().__init__()
        self.profile_size = check_count("profile_size", profile_size)
        self.code_size = check_count("code_size", code_size)

    @abstractmethod
    def forward(self, profile: Tensor) -> Tensor:
        """Return codes (N, R) of profiles (N, P) in scaled units."""


class MLPLocationEncoder(LocationEncoder):
    """Two linear layers with a ReLU between them; linear in N.

    Parameters
    ----------
    profile_size, code_size : int
        P and R.
    hidden : int
        H.

    Examples
    --------
    >>> MLPLocationEncoder(24, 10)(torch.zeros(5, 24)).shape
    torch.Size([5, 10])
    """

    pointwise = True

    def __init__(self, profile_size: int, code_size: int, hidden: int = 32) -> None:
        super().__init__(profile_size, code_size)
        self.layers = nn.Sequential(
            nn.Linear(profile_size, hidden), nn.ReLU(), nn.Linear(hidden, code_size)
        )

    def forward(self, profile: Tensor) -> Tensor:
        """Return codes (N, R) of profiles (N, P)."""
        codes: Tensor = self.layers(profile)
        return codes


class AttentionLocationEncoder(LocationEncoder):
    """STemDist's encoder: one self-attention layer over locations, with residual and layer norm.

    As published: a linear layer with ReLU, single-head attention with an output projection
    (``torch.nn.MultiheadAttention`` and its initial weights), residual, layer norm, a linear
    layer to the code, and the (R, R) map with which MTGNN's graph learner reads a code (Wu et
    al., KDD 2020, section 4.2, the Theta of equations 1 and 2).

    Attention runs in blocks of locations, recomputed in the backward pass, so memory grows
    with N, time with N squared, and the codes do not depend on the blocks.

    Parameters
    ----------
    profile_size, code_size : int
        P and R.
    hidden : int
        H.
    scores : int
        Pairs of locations whose scores are held at a time.

    Examples
    --------
    >>> AttentionLocationEncoder(24, 10)(torch.zeros(5, 24)).shape
    torch.Size([5, 10])
    """

    def __init__(
        self, profile_size: int, code_size: int, hidden: int = 32, scores: int = SCORES
    ) -> None:
        super().__init__(profile_size, code_size)
        self.scores = check_count("scores", scores)
        self.embed = nn.Linear(profile_size, hidden)
        self.read = nn.Linear(hidden, 3 * hidden)  # queries, keys and values
        self.out = nn.Linear(hidden, hidden)
        nn.init.xavier_uniform_(self.read.weight)
        nn.init.zeros_(self.read.bias)
        nn.init.zeros_(self.out.bias)
        self.norm = nn.LayerNorm(hidden)
        self.head = nn.Linear(hidden, code_size)
        self.map = nn.Linear(code_size, code_size)

    def forward(self, profile: Tensor) -> Tensor:
        """Return codes (N, R) of profiles (N, P)."""
        h = torch.relu(self.embed(profile))  # (N, H)
        query, key, value = self.read(h)[None].chunk(3, dim=-1)  # (1, N, H) each
        mixed = self.out(attend_in_blocks(query, key, value, self.scores)[0])
        codes: Tensor = self.map(self.head(self.norm(h + mixed)))
        return codes


class LandmarkLocationEncoder(LocationEncoder):
    """Attention over locations through a few learned landmarks; linear in N.

    Lee et al., *Set Transformer*, ICML 2019, section 3.1 (induced set attention): M learned
    landmarks attend to all profiles, then every profile attends to the M results. One head and
    no feed-forward parts, so the N keys of an attention layer are summarised by M.

    Parameters
    ----------
    profile_size, code_size : int
        P and R.
    hidden : int
        H.
    landmarks : int
        M.

    Examples
    --------
    >>> LandmarkLocationEncoder(24, 10)(torch.zeros(5, 24)).shape
    torch.Size([5, 10])
    """

    def __init__(
        self, profile_size: int, code_size: int, hidden: int = 32, landmarks: int = 16
    ) -> None:
        super().__init__(profile_size, code_size)
        self.embed = nn.Linear(profile_size, hidden)
        self.landmarks = nn.Parameter(torch.randn(check_count("landmarks", landmarks), hidden))
        # Biases of keys and of the inner value would be redundant.
        self.inner_key = nn.Linear(hidden, hidden, bias=False)
        self.inner_value = nn.Linear(hidden, hidden, bias=False)
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden, bias=False)
        self.value = nn.Linear(hidden, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.head = nn.Linear(hidden, code_size)

    def forward(self, profile: Tensor) -> Tensor:
        """Return codes (N, R) of profiles (N, P)."""
        h = self.embed(profile)  # (N, H)
        seen = attend(self.landmarks, self.inner_key(h), self.inner_value(h))  # (M, H)
        summary = self.landmarks + seen
        mixed = attend(self.query(h), self.key(summary), self.value(summary))  # (N, H)
        codes: Tensor = self.head(self.norm(h + mixed))
        return codes


LOCATION_ENCODERS: dict[str, type[LocationEncoder]] = {
    "attention": AttentionLocationEncoder,
    "landmark": LandmarkLocationEncoder,
    "mlp": MLPLocationEncoder,
}


def make_location_encoder(
    name: str, profile_size: int, code_size: int, hint: str = ""
) -> LocationEncoder:
    """Build a location encoder by name.

    Parameters
    ----------
    name : str
        ``"attention"``, ``"landmark"`` or ``"mlp"``.
    profile_size, code_size : int
        P and R.
    hint : str, optional
        What else the caller accepts, for the error message.

    Raises
    ------
    InputError
        If the name is unknown; the message lists the valid ones.

    Examples
    --------
    >>> make_location_encoder("mlp", 24, 10)(torch.zeros(5, 24)).shape
    torch.Size([5, 10])
    """
    if name not in LOCATION_ENCODERS:
        raise unknown_name("location encoder", name, LOCATION_ENCODERS, hint)
    return LOCATION_ENCODERS[name](profile_size, code_size)
