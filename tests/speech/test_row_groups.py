import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spin_fairseq.speech.row_groups import row_groups


@given(st.lists(st.integers(0, 20), max_size=40), st.integers(1, 30))
def test_each_row_is_in_one_group_which_is_as_long_as_it_may_be(sizes, largest):
    found = list(row_groups(np.array(sizes, np.int64), largest))
    assert [row for begin, end in found for row in range(begin, end)] == list(range(len(sizes)))
    for begin, end in found:
        assert sum(sizes[begin:end]) <= largest or end == begin + 1
        assert end == len(sizes) or sum(sizes[begin : end + 1]) > largest
