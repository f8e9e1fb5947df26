"""What a program is told while a forecaster trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Callback:
    """Told of one training; a subclass overrides what it wants to know.

    What a method raises ends the training. A training that continues from its checkpoint is told
    of from there on.

    Examples
    --------
    >>> import stemdist
    >>> class Printer(stemdist.Callback):
    ...     def on_validation(self, row):
    ...         print(int(row["update"]))
    >>> raw = stemdist.simulate("weather-sim", days=8, n_lat=3, n_lon=4)
    >>> _ = stemdist.train(raw, "linear", updates=4, validate_every=2, callbacks=[Printer()])
    2
    4
    """

    def on_train_begin(self, settings: Mapping[str, Any]) -> None:
        """Before the first update.

        Parameters
        ----------
        settings : mapping
            ``forecaster`` (its class), its sizes and hyper-parameters, and the fields of
            :class:`~stemdist.forecast.TrainingSettings`.
        """

    def on_validation(self, row: Mapping[str, float]) -> None:
        """After every ``validate_every`` updates and after the last one.

        Parameters
        ----------
        row : mapping
            A row of the history: ``update``, ``train_loss``, ``validation_error`` (mean squared
            error, or CRPS, in scaled units; NaN without validation), ``learning_rate``,
            ``seconds``, and ``loss_<term>`` of each of several terms.
        """

    def on_train_end(self, summary: Mapping[str, float]) -> None:
        """After the last update.

        Parameters
        ----------
        summary : mapping
            ``updates`` made, ``seconds`` and ``validation_seconds``, and
            ``best_validation_error``, whose weights the forecaster has now; NaN without
            validation.
        """
