"""Heads on disk: what comes back predicts the same bits, and nothing in the files is executed."""

import numpy as np
import pytest

from kiyome.errors import StaleArtifact
from kiyome.features import HeadFacts, cross_fit_head, has_heads, load_heads, save_heads

FACTS = HeadFacts(
    backbone="tiny",
    weights=None,
    weights_sha256="",
    engine="numpy",
    num_features=9,
    num_rows=80,
    accuracy_on_given=0.8,
    log_loss=0.5,
)


@pytest.fixture
def run(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 3
    features = (rng.normal(size=(3, 9))[labels] + rng.normal(size=(80, 9))).astype(np.float16)
    fit = cross_fit_head(features, labels, np.arange(80) % 4, num_classes=3)
    np.save(tmp_path / "features.npy", features)
    save_heads(fit.heads, FACTS, tmp_path)
    return tmp_path, fit.heads


def test_what_comes_back_predicts_the_same(run):
    folder, heads = run
    stored, facts = load_heads(folder)
    assert facts == FACTS
    features = np.random.default_rng(1).normal(size=(20, 9)).astype(np.float16)
    np.testing.assert_array_equal(stored.pred_probs(features), heads.pred_probs(features))


def test_a_folder_without_heads_says_so(tmp_path):
    assert not has_heads(tmp_path)
    with pytest.raises(StaleArtifact, match=r"holds no head that can be read.*Run `kiyome find`"):
        load_heads(tmp_path)


@pytest.mark.parametrize("name", ["arrays.npz", "head.json"])
@pytest.mark.parametrize("content", [b"", b"{}", b"\x80\x04K\x01."])
def test_a_broken_file_is_refused(run, name, content):
    folder, _ = run
    (folder / "head" / name).write_bytes(content)
    with pytest.raises(StaleArtifact, match="holds no head that can be read"):
        load_heads(folder)
