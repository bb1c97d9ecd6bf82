"""Engines for the tests; Ray is started once, with two cores, and only where a test wants it."""

import os
import sys
from pathlib import Path

import pytest

from kiyome.executors import OnRay, OnSlurm, Processes

HERE = str(Path(__file__).parent)
sys.path.insert(0, HERE)  # workers find units_of_work there, too
os.environ["PYTHONPATH"] = os.pathsep.join([HERE, *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.fixture(params=["processes", "ray", "slurm"])
def elsewhere(request, tmp_path):
    """Every executor whose workers are other processes."""
    if request.param == "ray":
        request.getfixturevalue("ray")
    if request.param == "slurm":
        pytest.importorskip("submitit")
    return {
        "processes": Processes(num=2),
        "ray": OnRay(),
        "slurm": OnSlurm(partition="local", folder=tmp_path / "jobs"),
    }[request.param]
