import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from recbole_mgr.data.ordering import stable_order

SHAPES = st.integers(0, 60)


@given(
    st.one_of(
        arrays.arrays(np.int32, SHAPES, elements=st.integers(-3, 3)),
        arrays.arrays(np.int64, SHAPES, elements=st.integers(-(2**62), 2**62)),
        arrays.arrays(np.float64, SHAPES, elements=st.integers(1_500_000_000, 1_500_000_009).map(float)),
        arrays.arrays(np.float64, SHAPES, elements=st.floats(allow_nan=False, allow_infinity=False, width=32)),
    )
)
def test_it_is_that_of_a_stable_sort(values):
    found = stable_order(values)
    assert found.dtype == np.int64
    assert found.tolist() == sorted(range(len(values)), key=values.tolist().__getitem__)


@pytest.mark.parametrize("largest", [2**16, 2**31 - 1, 2**31, 2**40])
def test_it_is_right_for_many_and_for_large_numbers(largest):
    values = np.random.default_rng(1).integers(0, largest, 70_000, endpoint=True)
    for numbers in (values, values.astype(np.float64), np.sort(values), -values):
        assert np.array_equal(stable_order(numbers), np.argsort(numbers, kind="stable"))
