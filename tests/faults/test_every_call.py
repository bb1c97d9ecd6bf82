"""Each call of a verb in turn meets a fault: it says so or does without, and the same command ends the same.

As SQLite tests itself: for n = 1, 2, ... call number n fails, until the verb ends without reaching it. An I/O
error comes once, a disk once full stays full, memory is refused once (64 KiB and more), a kill comes before
the call or in the middle of what it writes.
"""

import itertools

import pytest
from faulty_verbs import WITHOUT_TORCH, anew

FAULTS = ("EIO", "ENOSPC", "ENOMEM", "kill")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_some_calls(fault, sweep_of):
    sweep_over(sweep_of("import"), fault, step={"EIO": 61, "ENOMEM": 31}.get(fault, 17))


def test_a_backup_that_is_killed_leaves_no_journal_of_its_own(sweep_of):
    sweep_over(sweep_of("backup"), "kill", step=14)


@pytest.mark.parametrize("fault", ["EIO", "ENOMEM"])
def test_no_photo_is_set_aside_because_the_machine_failed(fault, forks, user_files, tmp_path):
    folder, argv = anew(tmp_path / "work", user_files), ("kiyome", "check", "train.csv", "--json")
    sound = forks.run(*argv, folder=folder, fault="warm")
    for number in itertools.count(1, 13):
        ended = forks.run(*argv, folder=folder, fault=fault, number=number)
        assert ended.code == 2 or (ended.code, ended.out) == (0, sound.out)
        if ended.calls < number:
            break
    assert number > 40


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_a_fault_at_any_call(name, fault, sweep_of, record_testsuite_property):
    record_testsuite_property(f"{name} {fault}", sweep_over(sweep_of(name), fault, step=1))


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ["find photos", "train"])
def test_a_fault_at_every_seventh_call_with_torch(name, fault, sweep_of):
    sweep_over(sweep_of(name), fault, step=7)


def sweep_over(sweep, fault, *, step):
    """The number of calls that were given the fault, one a run."""
    for number in itertools.count(1, step):
        if sweep.at(fault, number).calls < number:
            assert number > 1
            return (number - 1) // step
    raise AssertionError
