"""A process under the shim that forks: each line that it reads asks for a verb or script, with a fault."""

import contextlib
import ctypes
import json
import os
import runpy
import sys
from pathlib import Path
from tempfile import TemporaryFile

FAULTS = ("none", "EIO", "ENOSPC", "ENOMEM", "kill", "kill_before_send", "kill_after_send")


def run(argv: list[str]) -> int:
    """The exit code of a verb, or of a script with its arguments; a traceback is one of 1."""
    sys.argv = argv
    try:
        if argv[0] == "kiyome":
            from kiyome.cli import main

            main()
        else:
            runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


def in_child(shim: ctypes.CDLL, asked: dict, streams: tuple[int, int]) -> None:
    """Do what is asked in this forked process, and end it."""
    code = 1
    try:
        for number, stream in enumerate(streams, start=1):
            os.dup2(stream, number)
        os.chdir(asked["folder"])
        os.environ.update(asked["environment"])
        log = os.fsencode(asked["log"] or "")
        shim.fault_clock(ctypes.c_long(asked["clock"]))
        fault, number = FAULTS.index(asked["fault"]), ctypes.c_long(asked["number"])
        shim.fault_arm(fault, number, os.fsencode(asked["folder"]), log)
        code = run(asked["argv"])
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        shim.fault_disarm()
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def warm_up(asked: dict) -> None:
    """Do it here once: children then find modules imported and templates compiled."""
    os.chdir(asked["folder"])
    os.environ["KIYOME_CACHE"] = asked["environment"]["KIYOME_CACHE"]
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        assert run(asked["argv"]) == 0, asked["argv"]


def answer(shim: ctypes.CDLL, asked: dict) -> dict:
    """What came of a request: exit code or minus the signal, calls counted, and both streams."""
    if asked["fault"] == "warm":
        warm_up(asked)
        asked["fault"] = "none"
    with TemporaryFile() as out, TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            in_child(shim, asked, (out.fileno(), err.fileno()))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = [os.pread(file.fileno(), 1 << 20, 0).decode(errors="replace") for file in (out, err)]
    return {"code": code, "calls": shim.fault_calls(), "out": texts[0], "err": texts[1]}


if __name__ == "__main__":  # doctest imports every module
    del os.environ["LD_PRELOAD"]
    library = ctypes.CDLL(sys.argv[1])
    library.fault_calls.restype = ctypes.c_long
    for line in sys.stdin:
        print(json.dumps(answer(library, json.loads(line))), flush=True)  # noqa: T201
