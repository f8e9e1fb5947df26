"""Synthesizers have the parameters of scikit-learn's estimators; what they fit is a problem."""

from __future__ import annotations

import pytest
from sklearn.utils import estimator_checks as checks

from stemdist.distill.synthesizer import SYNTHESIZERS

# The checks that need no data; every other one fits rows of numbers, where a synthesizer fits a
# distillation problem.
OF_PARAMETERS = (
    checks.check_estimator_cloneable,
    checks.check_do_not_raise_errors_in_init_or_set_params,
    checks.check_get_params_invariance,
    checks.check_no_attributes_set_in_init,
    checks.check_set_params,
    checks.check_estimator_repr,
)


@pytest.mark.parametrize("check", OF_PARAMETERS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", SYNTHESIZERS.names())
def test_parameters(name, check):
    check(name, SYNTHESIZERS.get(name)())
