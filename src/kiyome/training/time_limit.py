"""When a training has to end, for machines that are there for some hours only: whole epochs, and no more."""

import re
from dataclasses import dataclass
from time import time

from kiyome.errors import InputError

SECONDS = {"h": 3600, "m": 60, "s": 1}


@dataclass(kw_only=True, eq=False)
class TimeLimit:
    """A moment after which no epoch is begun, nor one that would end after it, as far as can be known.

    Workers get copies, each of which knows the epochs of its own member only.
    """

    text: str
    """As the user said it."""
    ends: float
    """Seconds since 1970, which processes of all machines count alike."""
    longest_epoch: float = 0.0
    """Seconds of the longest epoch so far."""

    @staticmethod
    def of(text: "str | TimeLimit | None") -> "TimeLimit | None":
        """The limit that begins to count now; one that counts already, or none, as it is.

        Parameters
        ----------
        text
            A number with its unit: ``8h``, ``30m``, ``90s``, ``1.5h``.

        Raises
        ------
        InputError
            For any other text.

        Examples
        --------
        >>> round(TimeLimit.of("1.5h").ends - time())
        5400
        """
        if not isinstance(text, str):
            return text
        parts = re.fullmatch(r"(\d+(?:\.\d+)?)([hms])", text.strip())
        if parts is None:
            raise InputError(
                "A time to stop after is a number with h, m or s.",
                came=repr(text),
                remedy="Say 8h, 30m or 90s, for hours, minutes or seconds.",
            )
        return TimeLimit(text=text.strip(), ends=time() + float(parts[1]) * SECONDS[parts[2]])

    def count_epoch(self, seconds: float) -> None:
        """Take up how long an epoch took."""
        self.longest_epoch = max(self.longest_epoch, seconds)

    @property
    def is_reached(self) -> bool:
        """Whether another epoch, as long as the longest so far, would end too late."""
        return time() + self.longest_epoch > self.ends
