"""The splitmix64 mixer for arrays of integers, in place. Imports numpy."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["mix64"]

_GOLDEN: Final = np.uint64(0x9E37_79B9_7F4A_7C15)
_FIRST: Final = np.uint64(0xBF58_476D_1CE4_E5B9)
_SECOND: Final = np.uint64(0x94D0_49BB_1331_11EB)


def mix64(values: NDArray[np.uint64], spare: NDArray[np.uint64] | None = None) -> NDArray[np.uint64]:
    """Apply the splitmix64 mixer to every number in place. Return the same array.

    Parameters
    ----------
    values
        The numbers. Shape (n,), uint64.
    spare
        A buffer of the same shape and type. Without it, a new one is allocated.
    """
    room = np.empty_like(values) if spare is None else spare
    values += _GOLDEN
    for shift, factor in ((30, _FIRST), (27, _SECOND)):
        np.right_shift(values, np.uint64(shift), out=room)
        values ^= room
        values *= factor
    np.right_shift(values, np.uint64(31), out=room)
    values ^= room
    return values
