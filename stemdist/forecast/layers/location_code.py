"""Location codes added to tokens.

Shapes: B windows, N locations, P profile columns, C columns of a token.
"""

from __future__ import annotations

from torch import Tensor, nn

from stemdist.forecast.layers.location_encoder import LocationEncoder, make_location_encoder


class LocationCode(nn.Module):
    """Adds a code of its location's profile to every token.

    Shao et al., *Spatial-Temporal Identity*, CIKM 2022, section 4, with a location encoder in
    place of a free embedding for each location.

    Parameters
    ----------
    name : str
        A location encoder, or ``"none"`` for a layer that does nothing.
    profile_size, code_size, columns : int
        P, columns of the code, and C.

    Raises
    ------
    InputError
        If the name is unknown; the message lists the valid ones.

    Examples
    --------
    >>> import torch
    >>> LocationCode("mlp", 24, 10, 8)(torch.zeros(3, 5, 8), torch.zeros(5, 24)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(self, name: str, profile_size: int, code_size: int, columns: int) -> None:
        super().__init__()
        self.encoder: LocationEncoder | None = None
        if name != "none":
            hint = "Or 'none' to leave location codes out"
            self.encoder = make_location_encoder(name, profile_size, code_size, hint)
            self.project = nn.Linear(code_size, columns, bias=False)

    @property
    def pointwise(self) -> bool:
        """True unless codes depend on all locations together."""
        return self.encoder is None or self.encoder.pointwise

    def forward(self, h: Tensor, profile: Tensor) -> Tensor:
        """Return tokens (B, N, ..., C) with the code of their location, for profiles (N, P)."""
        if self.encoder is None:
            return h
        code: Tensor = self.project(self.encoder(profile))  # (N, C)
        return h + code.view(len(code), *[1] * (h.dim() - 3), code.shape[1])
