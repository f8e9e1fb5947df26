import pytest
import torch

from stemdist.data.windows import TensorWindows
from stemdist.distill.labels import RelabelledWindows, expert_share
from stemdist.errors import InputError


@pytest.fixture
def source() -> TensorWindows:
    return TensorWindows(
        x=torch.randn(2, 4, 2, 1),
        y=torch.tensor([[[2.0, 4.0]], [[6.0, 0.0]]]),
        mask=torch.tensor([[[1.0, 1.0]], [[1.0, 0.0]]]),
        weight=torch.ones(2),
    )


def test_shares_by_hand(source):
    answers = torch.tensor([[[0.0, 0.0]], [[0.0, 8.0]]])
    mixed = RelabelledWindows(source=source, answers=answers, share=0.5).batch(torch.arange(2))
    assert mixed.y.tolist() == [[[1.0, 2.0]], [[3.0, 8.0]]]  # the missing one is the answer alone
    assert mixed.mask.min() == 1
    pure = RelabelledWindows(source=source, answers=answers, share=1.0)
    assert torch.equal(pure.batch(torch.arange(2)).y, answers)
    assert torch.equal(pure.batch(torch.tensor([1]), torch.tensor([1])).y, answers[1:, :, 1:])
    assert torch.equal(pure.profile, source.profile)


def test_wrong_answers(source):
    with pytest.raises(InputError, match=r"expected \(M, L_out, K\) = \(2, 1, 2\)"):
        RelabelledWindows(source=source, answers=torch.zeros(2, 1, 3), share=1.0)
    with pytest.raises(InputError, match="a share in"):
        RelabelledWindows(source=source, answers=torch.zeros(2, 1, 2), share=0.0)


def test_kinds_of_label():
    assert [expert_share(kind) for kind in ("observed", "mixed", "expert")] == [0.0, 0.5, 1.0]
    with pytest.raises(InputError, match="unknown labels 'experts': did you mean 'expert'"):
        expert_share("experts")
