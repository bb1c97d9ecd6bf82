"""A way into the browser that shows the token to nobody: every user of a machine can read command lines."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kiyome.artifacts.storage import writing
from kiyome.reviewing.guard import leading_to


@contextmanager
def private_way(path: Path, address: str) -> Iterator[str]:
    """The address of a file, for its owner alone, that leads to an address while the block runs."""
    with writing(path, private=True) as file:
        file.write(leading_to(address).encode())
    try:
        yield path.absolute().as_uri()
    finally:
        path.unlink(missing_ok=True)
