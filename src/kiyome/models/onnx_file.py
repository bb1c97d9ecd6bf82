"""A network as ONNX: uint8 photos in, probabilities out, for programs without torch.

Normalization and the link from logits to probabilities lie inside, so that whoever runs it has two things
less to get wrong.
"""

import io
import warnings
from contextlib import redirect_stdout

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kiyome.errors import KiyomeError, MissingExtra
from kiyome.models.build import Network

INPUT, OUTPUT = "photos", "pred_probs"


class PhotosToProbs(nn.Module):  # type: ignore[misc]
    """From photos as they are decoded to probabilities."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network, self.module = network, network.module

    def forward(self, photos: Tensor) -> Tensor:
        """The probabilities (n, K) of photos (n, S, S, 3)."""
        logits: Tensor = self.module(self.network.normalize(photos))
        return self.network.link(logits.float())


def onnx_of(module: nn.Module, *, image_size: int, name: str) -> bytes:
    """An ONNX file's content: ``photos`` (n, S, S, 3) uint8 RGB to ``pred_probs`` (n, K) float32, any n.

    Parameters
    ----------
    module
        From photos to probabilities: `PhotosToProbs` of a network, say.
    image_size
        S; the file takes no other.
    name
        What errors call it.

    Raises
    ------
    MissingExtra
        If onnx or onnxscript are not installed.
    KiyomeError
        If torch cannot write this network as ONNX.

    Examples
    --------
    >>> from kiyome.models import build_model
    >>> network = build_model("tiny", num_classes=5, image_size=32)
    >>> content = onnx_of(PhotosToProbs(network), image_size=32, name="tiny")
    >>> probs = run_onnx(content, np.zeros((3, 32, 32, 3), np.uint8))
    >>> probs.shape, float(probs[0].sum().round(4))
    ((3, 5), 1.0)
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtra("Writing ONNX", extra="onnx") from error
    photos = torch.zeros(2, image_size, image_size, 3, dtype=torch.uint8)
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module.cpu().eval(),
                (photos,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes={"photos": {0: torch.export.Dim("n")}},
                dynamo=True,
                verbose=False,
            )
        content: bytes = program.model_proto.SerializeToString()
    except Exception as error:  # torch's, onnxscript's or protobuf's own, which share no family
        raise KiyomeError(
            f"torch cannot write {name} as ONNX: {_first_line(error)}.",
            expected="The file may take 2 GB at most.",
            remedy="Take the folder that timm loads instead, or train another architecture.",
        ) from error
    return content


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]


def run_onnx(content: bytes, *batches: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities (n, K) that ONNX Runtime gets from batches (., S, S, 3) of n photos, on the CPU.

    Raises
    ------
    MissingExtra
        If onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("Running ONNX", extra="onnx") from error
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run([OUTPUT], {INPUT: photos})[0] for photos in batches])


def run_torch(module: nn.Module, photos: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities (n, K) that torch gets from photos (n, S, S, 3) in float32, on the CPU."""
    with torch.inference_mode():
        probs: NDArray[np.float32] = module.cpu().eval()(torch.from_numpy(photos)).numpy()
    return probs
