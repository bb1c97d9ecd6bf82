"""Arrays in a `.npz` file, of which no pickled object is read."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.storage import is_machine_failure
from kiyome.errors import InputError

MOST_BYTES = 1 << 33
"""Of all arrays in a file, which can hold any number in a few bytes."""


def npz_arrays(path: Path, names: tuple[str, ...] | None = None) -> dict[str, NDArray[Any]]:
    """Return the arrays with these names in a `.npz` file, or all; InputError for pickled objects.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.npz"
    >>> np.savez(path, x=[1, 2], y=[3])
    >>> npz_arrays(path, ("y", "z"))
    {'y': array([3])}
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size > MOST_BYTES:
            raise ValueError(f"{size:,} bytes, more than {MOST_BYTES:,}")
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name] for name in content.files if names is None or name in names}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        if is_machine_failure(error):
            raise
        raise InputError(
            f"{path.name} cannot be read as .npz ({error}).",
            expected="Expected arrays of numbers or texts; pickled objects are not loaded.",
            remedy="Save the arrays with np.savez, labels as numbers or texts.",
        ) from error
