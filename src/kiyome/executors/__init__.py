"""Where independent units of work run: here, in processes, on Ray, on SLURM. Queues are the engines' own.

executor    what all of them are, and how a unit's own error comes home
here        one after another, in this process
processes   a pool of the standard library; each process has its share of the cores, and a GPU of its own
on_ray      a Ray cluster, or Ray on this machine; GPUs may be shared
on_slurm    jobs of a SLURM cluster, through submitit
chosen      the executor that a text such as processes:2 names
"""

from kiyome.executors.chosen import choose_executor
from kiyome.executors.executor import HERE, Executor, Here, in_order
from kiyome.executors.on_ray import OnRay
from kiyome.executors.on_slurm import OnSlurm
from kiyome.executors.processes import Processes

__all__ = ["HERE", "Executor", "Here", "OnRay", "OnSlurm", "Processes", "choose_executor", "in_order"]
