"""What ``stemdist distill`` says of the windows that were saved."""

import pytest

from stemdist.cli.distill import _nothing_better


@pytest.mark.parametrize(
    ("iterations", "learned", "out_of_time", "said"),
    [
        (0, False, False, ""),  # a choice of real windows
        (0, False, True, " (no time was left to learn)"),
        (2, False, False, " (the start: nothing learned was better)"),
        (2, False, True, " (the start: nothing learned was better)"),
        (2, True, False, ""),
        (2, True, True, " (learning ended with the time)"),
    ],
)
def test_what_became_of_learning(iterations, learned, out_of_time, said):
    history = [{"validation": 1.0}] * (1 + iterations)
    record = {"history": history, "learned": learned, "out_of_time": out_of_time}
    assert _nothing_better(record) == said
