"""Kill a run at each of its writes, renames and syncs in turn; started again, it ends the same."""

import itertools
import shutil
import subprocess
import sys

import pytest

from kiyome.artifacts.run import verify_run

JOB = """
import sys
from pathlib import Path
import numpy as np
from kiyome.artifacts.issues import write_issue_files
from kiyome.artifacts.predictions import Predictions, write_out_of_fold
from kiyome.artifacts.run import RunFolder
from kiyome.artifacts.table import Table, write_table

table = Table(root=Path(), image_ids=["a", "b"], paths=["", ""], given_labels=[0, 1], class_names=("x", "y"))
probs = np.array([[0.5, 0.5], [0.25, 0.75]])
made = Predictions(pred_probs=probs, kind="out_of_fold", source="", table_fingerprint=table.fingerprint)
with RunFolder.create_or_reopen(sys.argv[1], command="find", config={}, table=table) as run:
    made.save(run.path / "oof")
    write_out_of_fold(made, table, run.path)
    write_table(table, run.path / "table.csv")
    write_issue_files(run.path, table, is_label_issue=[1, 0], label_quality=[0.1, 0.2],
                      predicted_labels=[0, 1], ranked_rows=[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("call", ["write", "rename", "fsync"])
def test_a_kill_at_any_call_changes_nothing_in_the_end(tmp_path, call):
    job = [sys.executable, "-c", JOB]
    subprocess.run([*job, tmp_path / "whole"], check=True)
    expected = verify_run(tmp_path / "whole")["files"]
    for number in itertools.count(1):
        kill = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={call}:signal=KILL:when={number}"]
        folder = tmp_path / str(number)
        if subprocess.run([*kill, *job, folder], check=False).returncode == 0:
            break
        subprocess.run([*job, folder], check=True)
        assert verify_run(folder)["files"] == expected
    assert number > 10
