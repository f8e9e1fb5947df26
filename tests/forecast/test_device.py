import pytest
import torch

from stemdist.errors import InputError
from stemdist.forecast.device import check_device


def test_known():
    assert check_device("cpu") == check_device(torch.device("cpu")) == torch.device("cpu")


def test_unknown():
    with pytest.raises(InputError, match="unknown device 'gpu': this machine has cpu"):
        check_device("gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_absent():
    with pytest.raises(InputError, match="device 'cuda:1' is not available to this build"):
        check_device("cuda:1")


def test_number_that_is_not_there(monkeypatch):
    monkeypatch.setitem(
        __import__("stemdist.forecast.device", fromlist=["_"])._AVAILABLE, "cuda", lambda: True
    )
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match=r"this machine has 1 CUDA device\(s\)"):
        check_device("cuda:3")
