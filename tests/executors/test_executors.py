"""What holds for every executor: all results, errors with a name, another try for what was killed."""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import units_of_work as work

from kiyome.errors import InputError, KiyomeError, MissingExtra, WorkerLost
from kiyome.executors import Here, OnRay, OnSlurm, Processes, choose_executor, in_order
from kiyome.executors.executor import MAX_TRIES
from kiyome.executors.processes import shares_of_machine


def test_every_unit_has_its_result_and_on_wait_is_called(elsewhere, tmp_path):
    """A killed worker is another try, and costs the others nothing."""
    looks = []
    units = {name: str(tmp_path / name) for name in ("killed", "spared", "third")}
    done = dict(elsewhere.run(work.die_at_first, units, on_wait=lambda: looks.append(1)))
    assert done == {"killed": 2, "spared": 1, "third": 1}
    assert looks
    assert dict(elsewhere.run(work.double, {})) == {}


def test_what_a_unit_raises_comes_up_with_its_name_at_once(elsewhere):
    with pytest.raises(InputError, match=r"bad: 1 is odd. Double it."):
        dict(elsewhere.run(work.fail, {"bad": 1}))


def test_errors_here_have_a_name_too():
    with pytest.raises(InputError, match=r"bad: 1 is odd"):
        dict(Here().run(work.fail, {"bad": 1}))
    with pytest.raises(ZeroDivisionError) as caught:
        dict(Processes(num=1).run(work.divide, {"zero": 0}))
    assert "in zero" in caught.value.__notes__
    assert "return 1 / number" in caught.value.__notes__[0]  # where in the worker


def test_an_error_that_cannot_be_pickled_is_sent_as_text():
    with pytest.raises(RuntimeError, match=r"Stubborn: no 3"):
        dict(Processes(num=1).run(work.be_stubborn, {"a": 3}))


def test_what_kills_its_worker_each_time_is_given_up(elsewhere, tmp_path):
    with pytest.raises(WorkerLost, match=r"hopeless: its worker died 3 times"):
        dict(elsewhere.run(work.always_die, {"hopeless": str(tmp_path / "tries")}))
    assert len((tmp_path / "tries").read_text()) == MAX_TRIES


def test_results_come_in_the_order_of_the_items():
    assert in_order(Processes(num=2))(pow, [2, 3, 4], [3, 2, 1]) == [8, 9, 4]


def test_who_wants_no_more_stops_the_workers(elsewhere, tmp_path):
    place = tmp_path / "pid"

    def stop_when_begun():
        if place.exists() and place.read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dict(elsewhere.run(work.linger, {"long": str(place)}, on_wait=stop_when_begun))
    assert_dead(int(place.read_text()))


def assert_dead(pid):
    for _ in range(100):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z":
                return
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.1)
    raise AssertionError(f"{pid} lives")


SCRIPT = """
import signal, sys
from contextlib import closing
import units_of_work as work
from kiyome.executors import Processes

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    with closing(Processes(num=1).run(work.linger, {"long": sys.argv[1]})) as done:
        dict(done)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent(how, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    place = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, tmp_path / "script.py", place], stderr=subprocess.PIPE)
    while not (place.exists() and place.read_text()):
        assert parent.poll() is None
        time.sleep(0.05)
    parent.send_signal(how)
    output = parent.communicate(timeout=20)[1].decode()
    assert parent.returncode == -how
    assert output.count("Traceback") == (how == signal.SIGINT)  # the parent's own
    assert_dead(int(place.read_text()))


def test_each_process_has_a_gpu_and_its_share_of_the_cores(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5")
    assert [share.gpu for share in shares_of_machine(None, most=9)] == ["3", "GPU-5"]
    seen = dict(Processes().run(work.what_is_mine, dict.fromkeys("abcd")))
    assert {gpu for _, gpu, _ in seen.values()} == {"3", "GPU-5"}
    assert len({(pid, gpu) for pid, gpu, _ in seen.values()}) == 2
    cores = len(os.sched_getaffinity(0))
    assert sum({pid: number for pid, _, number in seen.values()}.values()) in (cores, 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert [share.gpu for share in shares_of_machine(1, most=9)] == [None]
    assert len(shares_of_machine(None, most=99)) == cores


def test_ray_shares_a_gpu_only_where_asked(ray):
    del ray
    assert dict(OnRay(cores=2).run(work.double, {"a": 1})) == {"a": 2}
    assert choose_executor("ray?gpus=0.25&cores=4") == OnRay(gpus=0.25, cores=4)
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_slurm_without_a_cluster_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"slurm:local tries it on this machine"):
        dict(OnSlurm(folder=tmp_path / "jobs").run(work.double, {"a": 1}))


def test_slurm_gets_the_options_of_the_text():
    chosen = choose_executor("slurm:gpu?timeout_min=240&slurm_account=leaves&folder=logs/jobs")
    options = {"timeout_min": 240, "slurm_account": "leaves"}
    assert chosen == OnSlurm(partition="gpu", folder=Path("logs/jobs"), options=options)


@pytest.mark.parametrize("text", ["threads", "processes:many", "here:2", "ray?gpu=1", "processes:0", ""])
def test_a_text_that_names_no_executor_is_refused(text):
    with pytest.raises(InputError):
        choose_executor(text)


@pytest.mark.parametrize(
    "error",
    [
        MissingExtra("Ray", extra="ray"),
        InputError("Label 7 is outside 0..4.", remedy="Correct it."),
        KiyomeError("a", expected="b", remedy="c").of("row 1"),
    ],
)
def test_our_errors_travel_whole(error):
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert (str(back), vars(back)) == (str(error), vars(error))
