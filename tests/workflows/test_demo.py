"""The README's first command, on its 2,624 real photographs."""

from pathlib import Path

import numpy as np

from kiyome.workflows.demo import demo, elpv_folder, read_grades


def test_grades_are_those_of_the_published_set() -> None:
    names, thirds = read_grades(elpv_folder())
    assert len(set(names)) == 2624
    assert np.bincount(thirds).tolist() == [1508, 295, 106, 715]


def test_flagged_cells_are_far_richer_in_hidden_doubt(tmp_path: Path) -> None:
    result = demo(output=tmp_path / "run", cache_folder=tmp_path / "cache")
    assert len(result.found.table) == 2624
    assert result.found.table.class_names == ("defective", "functional")
    assert result.lift.low > 1.5
    assert "CC BY-NC-SA 4.0" in result.summary()["data"]
    assert not (tmp_path / "run" / "grades.csv").exists()
