"""Folders and files for their owner alone, or for one group of people, whatever the umask is.

A folder is 0700 and its files 0600; shared with a group, they are 2770 and 0660. The folder itself carries
the group: its setgid bit hands it to every file.
"""

import grp
import os
import stat
from contextlib import suppress
from pathlib import Path

from kiyome.errors import InputError

OWNER_FOLDER, OWNER_FILE = 0o700, 0o600
GROUP_FOLDER, GROUP_FILE = 0o2770, 0o660


def private_folder(path: str | Path, *, group: str | None = None) -> Path:
    """The folder, made if need be, closed to all but its owner, or to all but the group that shares it.

    Parameters
    ----------
    path
        The folder; if it is a link, or somebody else's, it stays as it is.
    group
        The name of a group that shares the folder from now on.

    Raises
    ------
    InputError
        When there is no such group, or the folder cannot be shared with it.

    Examples
    --------
    >>> import tempfile
    >>> folder = private_folder(Path(tempfile.mkdtemp()) / "review")
    >>> oct(folder.stat().st_mode & 0o7777)
    '0o700'
    """
    path = Path(path)
    path.mkdir(mode=OWNER_FOLDER, exist_ok=True)
    if path.is_symlink():
        return path
    gid = None if group is None else _gid_of(group, path)
    shared = gid is not None or _is_shared(path.stat().st_mode)
    inside = [each for each in path.iterdir() if each.is_file() and not each.is_symlink()]
    modes = {path: GROUP_FOLDER if shared else OWNER_FOLDER}
    modes |= dict.fromkeys(inside, GROUP_FILE if shared else OWNER_FILE)
    for each, mode in modes.items():
        with suppress(FileNotFoundError):  # another process took a file away meanwhile
            _set_rights(each, mode, gid)
    return path


def private_opener(path: str, flags: int) -> int:
    """An `opener` for `open`: a file that it makes has the mode that its folder asks for.

    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp()) / "note.txt"
    >>> with open(place, "x", opener=private_opener) as file:
    ...     oct(os.fstat(file.fileno()).st_mode & 0o777)
    '0o600'
    """
    handle = os.open(path, flags, OWNER_FILE)
    if _is_shared(Path(path).parent.stat().st_mode) and os.fstat(handle).st_uid == os.geteuid():
        os.fchmod(handle, GROUP_FILE)
    return handle


def _is_shared(mode: int) -> bool:
    return bool(mode & stat.S_ISGID and mode & stat.S_IWGRP)


def _gid_of(group: str, folder: Path) -> int:
    try:
        gid = grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise InputError(
            f"There is no group {group!a} on this machine.",
            came=repr(group),
            remedy="Name one of yours: the command 'groups' lists them.",
        ) from error
    owner = folder.stat().st_uid
    if owner != os.geteuid() or (gid not in (os.getegid(), *os.getgroups()) and os.geteuid() != 0):
        raise InputError(
            f"{folder} can be shared with a group only by its owner, and with a group of theirs.",
            came=f"group {group!r}",
            remedy="Name a group that 'groups' lists, or ask the owner of the folder to say --group.",
        )
    return gid


def _set_rights(path: Path, mode: int, gid: int | None) -> None:
    """Give a file of ours its mode, and its group where it is shared anew."""
    known = path.stat()
    if known.st_uid != os.geteuid():
        return
    if gid is not None and known.st_gid != gid:
        os.chown(path, -1, gid)
        known = path.stat()  # the system may take the setgid bit away with it
    if stat.S_IMODE(known.st_mode) != mode:
        path.chmod(mode)
