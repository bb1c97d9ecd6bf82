"""The default judges a mapped file that is much larger than the memory it holds."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

NUM_ROWS, NUM_CLASSES = 150_000, 1000  # 600 MB
JUDGE = """
import resource, sys
import numpy as np
from kiyome.noise import find_label_issues
labels = np.arange({rows}) % {classes}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
find_label_issues(labels, np.load(sys.argv[1], mmap_mode="r"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="maxrss is counted in kB on Linux only")
def test_the_default_holds_a_part_of_a_mapped_file(tmp_path: Path) -> None:
    path = tmp_path / "pred_probs.npy"
    probs = np.lib.format.open_memmap(path, "w+", np.float32, (NUM_ROWS, NUM_CLASSES))
    for start in range(0, NUM_ROWS, 10_000):
        block = probs[start : start + 10_000]
        block[:] = 0.1 / (NUM_CLASSES - 1)
        block[np.arange(len(block)), np.arange(start, start + len(block)) % NUM_CLASSES] = 0.9
    probs.flush()
    code = JUDGE.format(rows=NUM_ROWS, classes=NUM_CLASSES)
    shown = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert int(shown.stdout) < 400_000  # kB; without letting go of pages it is all 600 MB and more
