"""Blocks of any source as one mapped array, read once."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kiyome.errors import InputError
from kiyome.noise import find_label_issues
from kiyome.noise.files import as_memmap, read_blocks

NAMES = ["healthy", "blight", "rust"]


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    return rng.integers(0, 3, 1000), rng.dirichlet(np.ones(3), 1000).astype(np.float32)


def write(table, path, labels):
    columns = {"image_id": np.arange(1000).astype(str), "label": labels}
    columns |= {f"p_{name}": table[1][:, k] for k, name in enumerate(NAMES)}
    arrow = pa.table(columns)
    if path.suffix == ".parquet":
        pq.write_table(arrow, path, row_group_size=300)
    else:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, arrow.schema) as writer:
            writer.write_table(arrow, max_chunksize=300)
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize("kind", ["numbers", "names", "categories"])
def test_files_give_the_mask_of_their_arrays(tmp_path, table, suffix, kind):
    labels = table[0] if kind == "numbers" else np.array(NAMES)[table[0]]
    if kind == "categories":
        labels = pa.array(labels).dictionary_encode()
    path = write(table, tmp_path / f"oof{suffix}", labels)
    with as_memmap(read_blocks(path), folder=tmp_path) as (read, pred_probs):
        assert isinstance(pred_probs, np.memmap)
        assert pred_probs.dtype == np.float32
        np.testing.assert_array_equal(read, table[0])
        np.testing.assert_array_equal(pred_probs, table[1])
        np.testing.assert_array_equal(find_label_issues(read, pred_probs), find_label_issues(*table))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_any_iterator_will_do_and_is_read_once(table):
    blocks = ((table[0][n : n + 70], np.asfortranarray(table[1][n : n + 70])) for n in range(0, 1000, 70))
    with as_memmap(blocks) as (labels, pred_probs):
        np.testing.assert_array_equal(labels, table[0])
        np.testing.assert_array_equal(pred_probs, table[1])
    assert next(blocks, None) is None


def test_bad_values_are_named_by_their_row(table):
    table[1][721, 2] = np.nan
    blocks = [(table[0][n : n + 100], table[1][n : n + 100]) for n in range(0, 1000, 100)]
    with as_memmap(blocks) as arrays, pytest.raises(InputError, match="nan in row 721, column 2"):
        find_label_issues(*arrays)
    blocks[3][0][5] = 3
    with pytest.raises(InputError, match="Label 3 in row 305"), as_memmap(blocks):
        pass


def test_blocks_agree(tmp_path):
    with pytest.raises(InputError, match="There is no part"), as_memmap([], folder=tmp_path):
        pass
    blocks = [([0], [[1.0, 0.0]]), ([0], [[1.0, 0.0, 0.0]])]
    with (
        pytest.raises(
            InputError,
            match=r"The parts have 2 classes of float\d+ and 3 classes|of one type and number of classes",
        ),
        as_memmap(blocks, folder=tmp_path),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_files_that_do_not_fit(tmp_path, table):
    path = write(table, tmp_path / "oof.parquet", np.array([*NAMES, "mold"])[table[0] + (table[0] == 2)])
    with pytest.raises(
        InputError, match=r"The label 'mold' is unknown. Expected one of healthy, blight, rust"
    ):
        list(read_blocks(path))
    with pytest.raises(InputError, match="a column 'given' and one column of probabilities"):
        list(read_blocks(path, label_column="given"))
    with pytest.raises(InputError, match="a column 'label' and"):
        list(read_blocks(path, prob_columns=["p_0", "p_1"]))
    (tmp_path / "torn.parquet").write_bytes(path.read_bytes()[:500])
    for name in ("torn.parquet", "absent.arrow"):
        with pytest.raises(
            InputError, match=f"{name} cannot be read: .*Expected a whole Parquet or Arrow file."
        ):
            list(read_blocks(tmp_path / name))
