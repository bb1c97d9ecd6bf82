"""Where independent units of work run: here, in processes, on Ray, on SLURM. Queues are the engines' own.

executor    what all of them are, how an error of a unit is returned, and Here: one unit after another
processes   a pool of the standard library; each process has its share of the cores, and a GPU of its own
on_ray      a Ray cluster, or Ray on this machine; GPUs may be shared
on_slurm    jobs of a SLURM cluster, through submitit
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from kiyome.errors import InputError
from kiyome.executors.executor import HERE, Executor, Here, in_order
from kiyome.executors.on_ray import OnRay
from kiyome.executors.on_slurm import OnSlurm
from kiyome.executors.processes import Processes

__all__ = ["HERE", "Executor", "Here", "OnRay", "OnSlurm", "Processes", "choose_executor", "in_order"]

Options = dict[str, str]


def choose_executor(text: str | Executor) -> Executor:
    """Return the executor that a text names; an executor is returned unchanged.

    A text is ``here``; ``processes`` or ``processes:2``; ``ray``, ``ray://head:10001``,
    ``ray?gpus=0.5&cores=4``; ``slurm``, ``slurm:PARTITION``, ``slurm:gpu?timeout_min=240&gpus_per_node=1``
    with submitit's options.

    >>> choose_executor("processes:2")
    Processes(num=2)
    >>> choose_executor("ray://head:10001?gpus=0.5").address
    'ray://head:10001'
    >>> choose_executor("slurm:gpu?timeout_min=240").options
    {'timeout_min': 240}
    """
    if not isinstance(text, str):
        return text
    address, _, query = text.partition("?")
    kind, _, where = address.partition(":")
    options = dict(parse_qsl(query, keep_blank_values=True))
    try:
        return KINDS[kind](address, where, options)
    except (KeyError, ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"The executor {text!r} is unknown.",
            expected="Expected here, processes[:N], ray[://HOST:PORT] or slurm[:PARTITION], with ?key=value.",
            remedy="docs/scaling.md has examples of each.",
        ) from error


def _here(address: str, where: str, options: Options) -> Executor:  # noqa: ARG001
    if where or options:
        raise ValueError
    return Here()


def _processes(address: str, where: str, options: Options) -> Executor:  # noqa: ARG001
    if options:
        raise ValueError
    return Processes(num=int(where) if where else None)


def _ray(address: str, where: str, options: Options) -> Executor:
    numbers: dict[str, Any] = {key: float(value) for key, value in options.items()}
    return OnRay(address=address if where else None, **numbers)


def _slurm(address: str, where: str, options: Options) -> Executor:  # noqa: ARG001
    folder = Path(options.pop("folder", OnSlurm.folder))
    typed = {key: int(value) if value.isdecimal() else value for key, value in options.items()}
    return OnSlurm(partition=where or None, folder=folder, options=typed)


KINDS: dict[str, Callable[[str, str, Options], Executor]] = {
    "here": _here,
    "processes": _processes,
    "ray": _ray,
    "slurm": _slurm,
}
