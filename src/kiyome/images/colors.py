"""Brightness, contrast, saturation and hue as one matrix.

Each step of ColorJitter, written on a pixel x of a view whose mean pixel is m (w are the weights of grey):

    brightness b   b x
    contrast c     c x + (1 - c) w.m 1        the one step that looks at the whole view
    saturation s   s x + (1 - s) w.x 1
    hue h          R x                        a turn by h of the plane of equal grey (YIQ)

All are linear in (x, m), so their product in any order is x -> M x + Q m.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

GREY = np.array([0.299, 0.587, 0.114])
"""Weights of ITU-R BT.601, those of Pillow and torchvision."""
YIQ = np.array([GREY, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
"""NTSC 1953; red, yellow, green, blue follow each other against the sense of (I, Q)."""


def color_matrices(draws: Floats, strengths: Sequence[float]) -> tuple[Floats, Floats]:
    """Return M and Q, (B, 3, 3) each, of B random color changes in a random order of the four steps.

    The same distribution as torchvision's ``v2.ColorJitter(brightness, contrast, saturation, hue)``, with two
    differences: values are clipped once, at the end, not after each step; and hue turns the YIQ plane, which
    keeps brightness to the eye, where HSV keeps the largest of R, G and B.

    Parameters
    ----------
    draws
        (B, 8) uniform numbers: four factors, four that decide the order.
    strengths
        Of brightness, contrast, saturation and hue.

    Examples
    --------
    >>> own, of_mean = color_matrices(np.full((1, 8), 0.5), [0.4, 0.4, 0.4, 0.1])
    >>> np.allclose(own, np.eye(3)), np.allclose(of_mean, 0)
    (True, True)
    """
    own_steps, mean_steps = color_steps(color_factors(draws[:, :4], strengths))
    order = np.argsort(draws[:, 4:], axis=1)
    own, of_mean = np.broadcast_to(np.eye(3), (len(draws), 3, 3)), np.zeros((len(draws), 3, 3))
    every = np.arange(len(draws))
    for step in order.T:
        next_own, next_mean = own_steps[step, every], mean_steps[step, every]
        of_mean = next_own @ of_mean + next_mean @ (own + of_mean)
        own = next_own @ own
    return own, of_mean


def color_factors(draws: Floats, strengths: Sequence[float]) -> Floats:
    """Return (B, 4) factors of brightness, contrast, saturation (1 changes nothing) and the turn of hue (0).

    >>> color_factors(np.array([[0.0, 0.5, 1.0, 0.0]]), [0.4, 0.4, 2.0, 0.1])
    array([[ 0.6,  1. ,  3. , -0.1]])
    """
    middle = np.array([1, 1, 1, 0])
    least = np.maximum(middle - strengths, [0, 0, 0, -np.inf])
    return least + draws * (middle + strengths - least)


def color_steps(factors: Floats) -> tuple[Floats, Floats]:
    """Return what the four steps do to a pixel and add of the mean pixel: (4, B, 3, 3) each."""
    brightness, contrast, saturation, _ = np.moveaxis(factors, 1, 0)[:, :, None, None]
    same = np.broadcast_to(np.eye(3), (len(factors), 3, 3))
    to_grey = np.broadcast_to(np.ones((3, 1)) * GREY, same.shape)
    nothing = np.zeros_like(same)
    own = [brightness * same, contrast * same, saturation * same + (1 - saturation) * to_grey]
    own.append(hue_turns(factors[:, 3]))
    return np.stack(own), np.stack([nothing, (1 - contrast) * to_grey, nothing, nothing])


def hue_turns(shares: Floats) -> Floats:
    """Return (B, 3, 3) matrices that turn colors by shares of a circle, from red over yellow to green.

    >>> hue_turns(np.array([0.25])).sum(axis=2).round(9)  # grey stays grey
    array([[1., 1., 1.]])
    """
    angle = -2 * np.pi * shares
    turn = np.zeros((len(shares), 3, 3))
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = np.cos(angle)
    turn[:, 2, 1] = np.sin(angle)
    turn[:, 1, 2] = -turn[:, 2, 1]
    return np.linalg.solve(YIQ, turn @ YIQ)
