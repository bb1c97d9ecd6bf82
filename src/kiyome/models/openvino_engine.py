"""Run a network on this CPU with OpenVINO, fast, and without a word to anyone."""

import sys
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any, Literal

import numpy as np

from kiyome.errors import MissingExtra
from kiyome.models.backbone import Pixels, Values, fixed_batches

Precision = Literal["bf16", "f32", "int8"]

BATCH = 4
"""Measured on lite0 with two cores: 4 to 8 crops are fastest, 1 and 64 are 16 to 25 % slower."""

REPORTER = "openvino_telemetry"


def import_openvino() -> ModuleType:
    """Return the module openvino, imported so that it neither sends nor writes telemetry.

    A plain ``import openvino`` loads its model converter, which reports the import to an analytics service
    and keeps an id in the home folder. It does neither where the package ``openvino_telemetry`` is absent,
    so that package is hidden while the import lasts, and openvino takes the silent stub that it ships.
    """
    already = "openvino" in sys.modules
    kept = sys.modules.get(REPORTER)
    try:
        if not already:
            sys.modules[REPORTER] = None  # type: ignore[assignment]
        import openvino
    except ImportError as error:
        raise MissingExtra("The engine OpenVINO", extra="lite") from error
    finally:
        if not already:
            del sys.modules[REPORTER]
            sys.modules.update({REPORTER: kept} if kept else {})
    return openvino  # type: ignore[no-any-return]


def compile_network(
    network: Callable[[], Any], *, precision: Precision | None = None
) -> tuple[Callable[[Pixels], Values], str]:
    """Return the forward pass of an openvino.Model over any number of crops, and the engine in words.

    The network is made and compiled for the first crops: where all features are cached, there are none.

    Parameters
    ----------
    network : callable
        Returns the openvino.Model: it takes (BATCH, size, size, 3) uint8 and gives (BATCH, num_features).
    precision : "bf16", "f32", "int8" or None
        None takes bf16 where the CPU computes in it, f32 elsewhere. For int8 the network's own FakeQuantize
        layers say where; the rest is computed in f32.
    """
    openvino = import_openvino()
    core = openvino.Core()
    if precision is None:
        precision = "bf16" if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"
    hint = "f32" if precision == "int8" else precision
    hints = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": hint}

    @cache
    def compiled() -> tuple[Any, int]:
        model = core.compile_model(network(), "CPU", hints)
        queue = openvino.AsyncInferQueue(model, 0)  # 0: as many at once as the hint finds best
        return queue, model.output(0).shape[1]

    def forward(pixels: Pixels) -> Values:
        queue, num_features = compiled()
        values = np.empty((len(pixels), num_features), np.float32)

        def keep(request: Any, start: int) -> None:
            part = values[start : start + BATCH]
            part[:] = request.get_output_tensor(0).data[: len(part)]

        queue.set_callback(keep)
        for start, batch in fixed_batches(pixels, BATCH):
            queue.start_async({0: batch}, start)
        queue.wait_all()
        return values

    release = openvino.__version__.split("-")[0]
    return forward, f"openvino {release} {precision}"
