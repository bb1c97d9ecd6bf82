"""DICOM photos as a viewer first shows them, and which photos are of one patient.

    stored values ── rescaled ── windowed ── inverted where MONOCHROME1 ── 8-bit RGB

Of a file only the tags named here are parsed: no name of a person is read.
"""

import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.table import Texts
from kiyome.cores import num_cores
from kiyome.images.pillow import check_size, needs_extra, unreadable_data

Values = NDArray[Any]
PALETTE = [
    f"{color}PaletteColorLookupTable{part}"
    for color in ("Red", "Green", "Blue")
    for part in ("Descriptor", "Data")
]
PIXEL_TAGS = [
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PlanarConfiguration", "PixelRepresentation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PhotometricInterpretation", "PixelData", *PALETTE),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
]
PATIENT_ID = 0x00100020
MAGIC, MAGIC_AT = b"DICM", 128
ENDINGS = (".dcm", ".dicom")
HEAD_BYTES = 1 << 16
"""Of a file; the patient's id is among the first tags."""
DEFLATED, RUN_LENGTHS = b"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
DECODER, DECODERS = (
    "python-gdcm",
    dict.fromkeys(
        ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203"),
        "pylibjpeg pylibjpeg-openjpeg",
    ),
)
"""The packages by which pydicom decodes JPEG in its forms, and others for high-throughput JPEG 2000."""
MOST_RUN_LENGTH_BYTES = 32 * 2**20
"""Of a file coded as run lengths, which may hold 64 times as much."""


def decode_dicom(data: bytes, *, findings: list[str]) -> NDArray[np.uint8]:
    """Return pixels (H, W, 3) of the first frame, in the first window that the file states.

    Without a window, deep grey reaches from the smallest to the largest value; remarks are appended to
    `findings`. UnreadablePhoto for files without a photo, or coded in a way that pydicom cannot decode.
    """
    try:
        from pydicom import dcmread
        from pydicom.pixels import apply_color_lut, get_decoder, pixel_array
    except ImportError as error:
        raise needs_extra("DICOM") from error
    if DEFLATED in data:  # could grow without limit
        raise unreadable_data("a DICOM file that is compressed as a whole")
    file = dcmread(io.BytesIO(data), specific_tags=PIXEL_TAGS)
    if "PixelData" not in file:
        raise unreadable_data("a DICOM file without a photo")
    check_size(file.Columns, file.Rows)
    coding = file.file_meta.TransferSyntaxUID
    if coding == RUN_LENGTHS and len(data) > MOST_RUN_LENGTH_BYTES:
        raise unreadable_data(f"a DICOM photo with more than {MOST_RUN_LENGTH_BYTES:,} bytes of run lengths")
    if int(file.get("NumberOfFrames") or 1) > 1:
        findings.append("first of several frames")
    try:
        values: Values = pixel_array(file, index=0)
    except NotImplementedError as error:
        raise unreadable_data(f"a DICOM photo coded as {coding.name}") from error
    except RuntimeError as error:
        reason = f"a DICOM photo coded as {coding.name}"
        if not get_decoder(coding).is_available:
            packages = DECODERS.get(coding, DECODER)
            reason += f"; to read it, run: pip install {packages}"
        raise unreadable_data(reason) from error
    bits = file.BitsStored
    if file.PhotometricInterpretation == "PALETTE COLOR":
        values = apply_color_lut(values, file)
        bits = 8 * values.itemsize
    if values.ndim == 3:
        return np.asarray(values >> max(0, bits - 8), np.uint8)
    shown = np.rint(255 * np.clip(_shown(values, file, findings), 0, 1)).astype(np.uint8)
    grey = 255 - shown if file.PhotometricInterpretation == "MONOCHROME1" else shown
    return np.repeat(grey[:, :, None], 3, axis=2)


def _shown(values: Values, file: Any, findings: list[str]) -> Values:
    """Return grey values between 0 and 1: by a table in the file, by its window, or by their range."""
    from pydicom.pixels import apply_modality_lut, apply_voi

    stored, values = values, apply_modality_lut(values, file)
    if file.get("VOILUTSequence"):
        bits = file.VOILUTSequence[0].LUTDescriptor[2]
        return np.asarray(apply_voi(values, file) / ((1 << bits) - 1))
    center, width = (_first_number(file.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if center is not None and width is not None and width > 0:
        window = WINDOWS.get(file.get("VOILUTFunction") or "LINEAR", _linear)
        return window(values.astype(np.float32), center, width)
    if file.BitsStored <= 8 and not file.PixelRepresentation:
        return np.asarray(stored / ((1 << file.BitsStored) - 1))
    findings.append("no window, shown from its smallest to its largest value")
    low, high = float(stored.min()), float(stored.max())
    return (stored.astype(np.float32) - low) / max(high - low, 1)


def _first_number(value: Any) -> float | None:
    """Return a number, or the first of several; None for an empty value."""
    first = value if value is None or isinstance(value, int | float | str) else next(iter(value), None)
    return None if first in (None, "") else float(first)


def _linear(values: Values, center: float, width: float) -> Values:
    return (values - (center - 0.5)) / max(width - 1, 1e-6) + 0.5


def _linear_exact(values: Values, center: float, width: float) -> Values:
    return (values - center) / width + 0.5


def _sigmoid(values: Values, center: float, width: float) -> Values:
    return 1 / (1 + np.exp(-4 * (values - center) / width))


WINDOWS: dict[str, Callable[[Values, float, float], Values]] = {
    "LINEAR": _linear,
    "LINEAR_EXACT": _linear_exact,
    "SIGMOID": _sigmoid,
}
"""DICOM PS3.3, C.11.2.1.2 and C.11.2.1.3."""


def patient_groups(paths: Sequence[str | PathLike[str]]) -> Texts | None:
    """Return `patient 1` and so on (N,) for photos by the patient id in DICOM files, empty for all others.

    The ids themselves are not returned. None without DICOM files that state one, or without pydicom.

    >>> patient_groups(["a.jpg", "no/such.dcm"]) is None
    True
    """
    may_be = [row for row, path in enumerate(paths) if _may_be_dicom(fspath(path))]
    if not may_be or find_spec("pydicom") is None:
        return None
    with ThreadPoolExecutor(num_cores(), "kiyome-dicom") as pool:
        ids = list(pool.map(_patient_id, [paths[row] for row in may_be]))
    numbers = {patient: number for number, patient in enumerate(dict.fromkeys(filter(None, ids)), start=1)}
    groups = np.full(len(paths), "", object)
    groups[may_be] = [f"patient {numbers[patient]}" if patient else "" for patient in ids]
    return groups if numbers else None


def _may_be_dicom(path: str) -> bool:
    """Whether a file is named like a DICOM file, or has no ending; fast, for millions of names."""
    name = path.rpartition("/")[2]
    return "." not in name or name.lower().endswith(ENDINGS)


def _patient_id(path: str | PathLike[str]) -> bytes:
    """Return the patient id in a DICOM file as it is stored; empty where there is none."""
    from pydicom.filereader import read_partial

    try:
        with Path(path).open("rb") as file:
            head = file.read(MAGIC_AT + len(MAGIC))
            if not head.endswith(MAGIC):
                return b""
            head += file.read(HEAD_BYTES)
        if DEFLATED in head:
            return b""
        found = read_partial(
            io.BytesIO(head), stop_when=lambda tag, _vr, _length: tag > PATIENT_ID, specific_tags=[PATIENT_ID]
        )
        return bytes(found.get_item(PATIENT_ID).value or b"").strip(b" \0")
    except Exception:  # on broken data pydicom raises nearly everything
        return b""
