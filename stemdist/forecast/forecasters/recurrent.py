"""GRU, LSTM and the simple recurrent network, shared by all locations.

Shapes: B windows, L_in lookback, L_out horizon, O outputs, N locations, F features, H state
columns.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from stemdist.errors import check_count
from stemdist.forecast.base import Forecaster
from stemdist.forecast.layers.dropout import FastDropout, check_dropout
from stemdist.forecast.layers.location_code import LocationCode
from stemdist.forecast.layers.recurrent import GRU, LSTM, RNN
from stemdist.forecast.search_space import DROPOUTS, NARROW_WIDTHS, Range, Space

if TYPE_CHECKING:
    from torch_geometric.data import Data


class RecurrentForecaster(Forecaster):
    """Recurrent layers over each location's window, then a linear head; see its subclasses.

    Parameters
    ----------
    lookback, horizon, n_features : int
        L_in and L_out in steps, and F.
    n_outputs : int
        O, the numbers forecast per location and step.
    hidden : int
        H.
    layers : int
        Number of recurrent layers, each reading the states of the one before.
    dropout : float
        Share of each layer's states set to zero in training, in [0, 1).
    location_encoder : str
        ``"mlp"``, ``"attention"`` (codes depend on all locations together, so the
        forecaster is not pointwise), any other location encoder, or ``"none"``.
    code_size : int
        Columns of the location code; not used without a location encoder.
    """

    search_space: ClassVar[Space] = {
        "hidden": NARROW_WIDTHS,
        "layers": Range(1, 2),
        "dropout": DROPOUTS,
    }

    def __init__(
        self,
        *,
        lookback: int,
        horizon: int,
        n_features: int,
        n_outputs: int = 1,
        hidden: int = 64,
        layers: int = 1,
        dropout: float = 0.0,
        location_encoder: str = "mlp",
        code_size: int = 10,
    ) -> None:
        super().__init__(
            lookback=lookback,
            horizon=horizon,
            n_features=n_features,
            n_outputs=n_outputs,
            hidden=check_count("hidden", hidden),
            layers=check_count("layers", layers),
            dropout=check_dropout(dropout),
            location_encoder=location_encoder,
            code_size=check_count("code_size", code_size),
        )
        self.hidden = hidden
        self.code = LocationCode(location_encoder, lookback * n_features, code_size, hidden)
        columns = [n_features] + [hidden] * (layers - 1)
        self.layers = nn.ModuleList(self.layer(c, hidden) for c in columns)
        self.dropout = FastDropout(dropout)
        self.head = nn.Linear(hidden, self.rows)

    @staticmethod
    @abstractmethod
    def layer(columns: int, hidden: int) -> nn.Module:
        """Return a layer that maps (B, N, L_in, columns) and a state (B, N, H) to states."""

    @property
    def states(self) -> dict[str, str]:  # type: ignore[override]
        """The states of the last layer at every step of the window are tokens."""
        return {"tokens": f"layers.{len(self.layers) - 1}"}

    @property
    def pointwise(self) -> bool:  # type: ignore[override]
        """True unless the location codes depend on all locations together."""
        return self.code.pointwise

    def forward(self, x: Tensor, graph: Data, profile: Tensor) -> Tensor:
        """Forecast (B, L_in, N, F) -> (B, O * L_out, N) in scaled units."""
        start = self.code(x.new_zeros(x.shape[0], x.shape[2], self.hidden), profile)  # (B, N, H)
        h = x.transpose(1, 2)  # (B, N, L_in, F)
        for layer in self.layers:
            h = self.dropout(layer(h, start))  # (B, N, L_in, H)
        forecast: Tensor = self.head(h[:, :, -1])  # (B, N, O * L_out)
        return forecast.transpose(1, 2)


class GRUForecaster(RecurrentForecaster):
    """Gated recurrent units over each location's window, with weights shared by all locations.

    Cho et al., *Learning Phrase Representations using RNN Encoder-Decoder*, EMNLP 2014,
    section 2.3, in the formulation of ``torch.nn.GRU``. A linear head maps the last state to
    all steps ahead. A location's code, read from its profile, is the state before the first
    step. Parameters as in :class:`RecurrentForecaster`.

    Raises
    ------
    InputError
        If a value is outside its range or the location encoder is unknown.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> import torch
    >>> forecaster = GRUForecaster(lookback=12, horizon=3, n_features=2)
    >>> x, profile = torch.zeros(4, 12, 5, 2), torch.zeros(5, 24)
    >>> forecaster(x, Data(num_nodes=5), profile).shape
    torch.Size([4, 3, 5])
    """

    @staticmethod
    def layer(columns: int, hidden: int) -> nn.Module:
        """Return a GRU with linear maps."""
        return GRU(nn.Linear(columns, 3 * hidden), nn.Linear(hidden, 3 * hidden))


class LSTMForecaster(RecurrentForecaster):
    """Long short-term memory over each location's window, shared by all locations.

    Hochreiter & Schmidhuber, Neural Computation 9 (1997), section 4, with the forget gate of
    Gers et al., Neural Computation 12 (2000), section 3. Head and location codes as in
    :class:`GRUForecaster`. Parameters as in :class:`RecurrentForecaster`.

    Raises
    ------
    InputError
        If a value is outside its range or the location encoder is unknown.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> import torch
    >>> forecaster = LSTMForecaster(lookback=12, horizon=3, n_features=2)
    >>> x, profile = torch.zeros(4, 12, 5, 2), torch.zeros(5, 24)
    >>> forecaster(x, Data(num_nodes=5), profile).shape
    torch.Size([4, 3, 5])
    """

    @staticmethod
    def layer(columns: int, hidden: int) -> nn.Module:
        """Return an LSTM with linear maps; the bias of the inputs is the only one."""
        return LSTM(nn.Linear(columns, 4 * hidden), nn.Linear(hidden, 4 * hidden, bias=False))


class RNNForecaster(RecurrentForecaster):
    """Simple recurrent network over each location's window, shared by all locations.

    Elman, *Finding Structure in Time*, Cognitive Science 14 (1990). Its layers have a third of
    the weights of a GRU's and a quarter of an LSTM's; head and location codes have the shapes of
    :class:`GRUForecaster` and :class:`LSTMForecaster` with as many state columns, so a student
    may take them over. Parameters as in :class:`RecurrentForecaster`.

    Raises
    ------
    InputError
        If a value is outside its range or the location encoder is unknown.

    Examples
    --------
    >>> from torch_geometric.data import Data
    >>> import torch
    >>> forecaster = RNNForecaster(lookback=12, horizon=3, n_features=2)
    >>> x, profile = torch.zeros(4, 12, 5, 2), torch.zeros(5, 24)
    >>> forecaster(x, Data(num_nodes=5), profile).shape
    torch.Size([4, 3, 5])
    """

    @staticmethod
    def layer(columns: int, hidden: int) -> nn.Module:
        """Return a simple recurrent layer with linear maps; only that of the inputs has a bias."""
        return RNN(nn.Linear(columns, hidden), nn.Linear(hidden, hidden, bias=False))
