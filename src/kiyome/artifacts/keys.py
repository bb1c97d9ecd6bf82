"""Secret keys in files, made once; and signatures of runs, which only the holder of a key can make.

The seal of a manifest is a digest: it finds accidents, and anyone can make it anew. A signature says that
this user, or someone with the team's KIYOME_SEAL_KEY, made the run; a run from elsewhere may claim anything.
"""

import fcntl
import hmac
import os
import secrets
from pathlib import Path

from kiyome.artifacts.private import private_folder
from kiyome.artifacts.storage import default_cache_folder, open_regular, writing
from kiyome.errors import StaleArtifact

KEY_BYTES = 32
TEAM_KEY = "KIYOME_SEAL_KEY"
"""The environment variable with a text that a team shares."""


def key_at(path: str | Path) -> bytes:
    """Return the key in a file, made with its folder if need be; all processes get the same.

    Raises
    ------
    StaleArtifact
        When the file was changed.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "review" / "secret"
    >>> key_at(path) == key_at(path)
    True
    """
    path = private_folder(Path(path).parent) / Path(path).name
    if not path.exists():
        _make(path)
    with open_regular(path) as file:
        key = file.read(KEY_BYTES + 1)
    if len(key) != KEY_BYTES:
        raise StaleArtifact(
            f"{path} does not hold a key of {KEY_BYTES} bytes.",
            came="a file that was changed",
            remedy="Take it from a backup, or delete it: a new one is made.",
        )
    return key


def _make(path: Path) -> None:
    """Put new bytes at `path`, whole or not at all, unless another process was first."""
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not path.exists():
            with writing(path, private=True) as file:
                file.write(secrets.token_bytes(KEY_BYTES))
    finally:
        os.close(handle)


def sign(content: bytes) -> str:
    """Return the signature of a text by the team's key or this user's; empty where no key can be kept.

    >>> is_signed(b"manifest", sign(b"manifest")), is_signed(b"changed", sign(b"manifest"))
    (True, False)
    """
    key = _own_key()
    return hmac.new(key, content, "sha256").hexdigest() if key else ""


def is_signed(content: bytes, signature: object) -> bool:
    """Whether the holder of the key at hand signed the text."""
    own = sign(content)
    is_text = isinstance(signature, str) and signature.isascii()  # a stranger's may be anything
    return bool(own) and is_text and hmac.compare_digest(own, str(signature))


def has_team_key() -> bool:
    """Whether only runs that the team's key signed may be read."""
    return bool(os.environ.get(TEAM_KEY))


def _own_key() -> bytes | None:
    if team := os.environ.get(TEAM_KEY):
        return team.encode()
    try:
        folder = default_cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        return key_at(folder / "signing" / "key")
    except (OSError, RuntimeError, StaleArtifact):
        return None  # no home, or one that cannot be written
