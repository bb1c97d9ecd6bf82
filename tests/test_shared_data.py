"""Fast tests need nothing but the clone."""

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"


@pytest.mark.parametrize("read", [os.listdir, Path.read_bytes, lambda path: next(path.iterdir())])
def test_shared_data_is_out_of_reach(read):
    with pytest.raises(AssertionError, match="take the fixture shared_data instead"):
        read(SHARED / "data")


def test_a_test_that_asks_for_shared_data_is_marked_and_reaches_it(shared_data, request):
    assert request.node.get_closest_marker("shared")
    assert any(shared_data.iterdir())
