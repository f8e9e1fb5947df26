"""A forecaster of this package as a teacher.

Shapes: B windows, R rows, N locations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import asdict
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from stemdist.errors import InputError
from stemdist.files import hash_of
from stemdist.forecast import FittedForecaster, TrainingSet
from stemdist.forecast.device import check_device
from stemdist.forecast.hidden_states import hidden_states
from stemdist.students.teacher import Teacher


class ForecasterTeacher(Teacher):
    """A trained forecaster; its hidden states can be learned too.

    Parameters
    ----------
    fitted : FittedForecaster
        The forecaster. Of its quantiles, if any, the one nearest to the median is used.
    device : str
        Where it computes.
    """

    def __init__(self, fitted: FittedForecaster, device: str = "cpu") -> None:
        self.fitted, self.device = fitted, check_device(device)
        self.name = fitted.name

    @classmethod
    def load(cls, argument: str, device: str = "cpu") -> ForecasterTeacher:
        """Return the forecaster saved in the folder ``argument``."""
        return cls(FittedForecaster.load(argument), device)

    @cached_property
    def identity(self) -> str:
        """A hash of weights, configuration and scaling."""
        digest = hashlib.sha256()
        for name, weight in sorted(self.fitted.forecaster.state_dict().items()):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(weight.cpu().numpy()).tobytes())
        own = self.fitted
        what = [own.name, own.forecaster.config, own.quantiles, asdict(own.scaler)]
        return hash_of([digest.hexdigest(), what])

    @property
    def states(self) -> tuple[str, ...]:
        """Those that its forecaster names, and ``features``."""
        return tuple(sorted({"features", *self.fitted.forecaster.states}))

    def check(self, data: TrainingSet, kinds: Collection[str]) -> None:
        """Raise :class:`InputError` unless the windows are made as those it was trained on."""
        super().check(data, kinds)
        own, given = self.fitted.settings, data.settings
        pairs = {
            name: (getattr(own, name), getattr(given, name))
            for name in ("lookback", "horizon", "calendar", "calendar_harmonics", "static")
        }
        pairs["future"] = (own.future, given.future)
        pairs["neighbour context"] = (own.neighbour_context, given.neighbour_context)
        pairs["variables"] = (self.fitted.variables, data.variables)
        pairs["targets"] = (own.n_targets, given.n_targets)
        scaler = self.fitted.scaler
        if scaler.n_locations is not None and not scaler.equals(data.scaler, rtol=1e-6):
            own_scale = f"statistics of {scaler.n_locations} locations"
            pairs["scaling"] = (own_scale, f"{given.scaling}, of other statistics")
        faults = [
            f"{n} {ours} and {theirs}" for n, (ours, theirs) in pairs.items() if ours != theirs
        ]
        if faults:
            raise InputError(
                f"the teacher {self.name!r} was trained on other inputs than the student's "
                f"(teacher's and student's): {'; '.join(faults)}. Use the teacher's, or train "
                "another teacher"
            )

    @torch.no_grad()
    def answer(
        self, data: TrainingSet, index: Tensor, kinds: Collection[str] = ()
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Forecast the windows ``index`` at all locations."""
        own, theirs = self.fitted.scaler, data.window_scaler
        x, profile = data.source.inputs(index), data.source.profile
        same = own.equals(data.scaler, rtol=1e-6)
        if not same:
            x = own.scale_features(theirs.inverse_features(x))
            shape = (len(profile), data.source.lookback, data.source.n_features)
            windows = theirs.inverse_features(profile.view(shape).transpose(0, 1))  # (L_in, N, F)
            profile = own.scale_features(windows).transpose(0, 1).flatten(1)
        module = self.fitted.forecaster.to(self.device).eval()
        graph = data.graph.clone().to(str(self.device))
        rows, states = hidden_states(
            module, kinds, x.to(self.device), graph, profile.to(self.device)
        )
        module.to("cpu")
        rows = self._point(rows.cpu())
        if not same:
            count = data.source.n_targets
            rows = theirs.scale_targets(own.inverse_targets(rows, count), count)
        return rows, {kind: state.cpu() for kind, state in states.items()}

    def _point(self, rows: Tensor) -> Tensor:
        """Return the quantile nearest to the median (B, C * L_out, N) of quantile forecasts."""
        levels = self.fitted.quantiles
        if not levels:
            return rows
        ordered = torch.unflatten(rows, 1, (len(levels), -1)).sort(dim=1).values
        middle = min(range(len(levels)), key=lambda i: abs(levels[i] - 0.5))
        return ordered[:, middle]
