"""The secret of a review: who does not know it can tell neither how its rows were shuffled nor forge a name.

It is made once in the review's folder and goes with it, so that the order stays the same at every start.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.keys import key_at

SECRET_FILE = "secret"  # noqa: S105 - a name


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A key, and what is derived from it; nothing of it is ever shown.

    Examples
    --------
    >>> secret = Secret(key=b"k" * 32)
    >>> secret, secret.order(["a", "b", "c"]).tolist()
    (Secret(), [0, 1, 2])
    """

    key: bytes = field(repr=False)

    def order(self, image_ids: Sequence[str]) -> NDArray[np.intp]:
        """(N,) all rows, sorted by a keyed digest of their ids: random to who does not know the key."""
        digests = [self._digest(image_id, "order") for image_id in image_ids]
        return np.array(sorted(range(len(digests)), key=digests.__getitem__), dtype=np.intp)

    def name(self, fingerprint: str, *, blind: bool) -> str:
        """The name of a review, which tells nothing of its table; a blind one numbers its rows otherwise."""
        return self._digest(f"{fingerprint} {blind}", "review").hex()

    def word(self, reviewer: str) -> str:
        """The word that gives a name to a browser which did not use it first."""
        return self._digest(reviewer, "reviewer").hex()

    @property
    def visitors(self) -> bytes:
        """The key of the cookie of all who came in with a token."""
        return self._digest("", "visitors")

    def browser(self, word: str) -> str:
        """What the log tells of the browser that keeps a word."""
        return self._digest(word, "browser").hex()

    def _digest(self, text: str, purpose: str) -> bytes:
        return hashlib.blake2b(text.encode(), key=self.key, person=purpose.encode(), digest_size=16).digest()


def review_secret(folder: str | Path) -> Secret:
    """The secret in the folder of a review, made with the folder if need be; all processes get the same.

    Raises
    ------
    StaleArtifact
        When the file was changed.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "review"
    >>> review_secret(folder) == review_secret(folder)
    True
    """
    return Secret(key=key_at(Path(folder) / SECRET_FILE))
