"""How often a student takes a class for another, by few samples whose labels are known."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]

LEAST, TINY = 1e-9, 1e-300
_ALIKE = 1000.0  # at most, of the prior's weight


def confusion(trusted: Table, even: float) -> Table:
    """P[p | t] from counts T: each class's share of errors drawn to that of all, as far as classes are alike.

    e_t = (k_t + a·m)/(n_t + a), k_t errors of n_t, m that of all; a, how many samples the others count for, from the
    variance between classes beyond that of chance (method of moments, between 1 and 1000). Where errors go is told by
    the class's own, and beside them ``even`` to each other class.

    Args:
        trusted: (..., classes, classes), a row a true class.
    """
    n, errors, m, a = _errors(trusted)
    e = (errors + (a * m)[..., None]) / (n + a[..., None])
    return _with_errors(e, trusted + even)


def evenness(trusted: Table) -> float:
    """How evenly errors go to the other classes: α of the Dirichlet distribution under which the counts are likeliest.

    Of Dirichlet-multinomial counts, one a class; from 0.03, each class is taken for few others, to 3.
    """
    classes = len(trusted)
    off = trusted[~np.eye(classes, dtype=bool)].reshape(classes, classes - 1)
    alphas = np.geomspace(0.03, 3.0, 21)
    each = alphas[:, None, None]
    whole = (classes - 1) * alphas[:, None]
    likelihood: Table = (_log_gamma(off + each) - _log_gamma(each)).sum(axis=(1, 2))
    likelihood += (_log_gamma(whole) - _log_gamma(off.sum(axis=1) + whole)).sum(axis=1)
    return float(alphas[likelihood.argmax()])


def drawn_confusions(trusted: Table, even: float, count: int, draw: np.random.Generator) -> Table:
    """P, as it could be, given T, so many times: beta and Dirichlet posteriors of what :func:`confusion` has."""
    n, errors, _, a = _errors(trusted)
    wrong, right = errors.sum(), (n - errors).sum()
    m = draw.beta(wrong + 0.5, right + 0.5, size=(count, 1))
    e = draw.beta(errors + a * m, n - errors + a * (1 - m))
    where = draw.gamma(np.broadcast_to(trusted + even, (count, *trusted.shape)))
    found = _with_errors(e, where + TINY)
    exact: Table = found / found.sum(axis=-1, keepdims=True)  # as a draw of counts wants it
    return exact


def _errors(trusted: Table) -> tuple[Table, Table, Table, Table]:
    """n_t, k_t, m and a."""
    n = trusted.sum(axis=-1)
    errors = n - np.diagonal(trusted, axis1=-2, axis2=-1)
    m = (errors.sum(axis=-1) + 0.5) / (n.sum(axis=-1) + 1)
    chance = m * (1 - m)
    there = n > 0
    e = errors / np.maximum(n, LEAST)
    of = np.maximum(there.sum(axis=-1), 1)
    between = (there * (e - m[..., None]) ** 2).sum(axis=-1) / of
    beyond = between - chance * (there / np.maximum(n, LEAST)).sum(axis=-1) / of
    return n, errors, m, np.clip(chance / np.maximum(beyond, LEAST) - 1, 1.0, _ALIKE)


def _with_errors(e: Table, where: Table) -> Table:
    eye = np.eye(where.shape[-1])
    off = where * (1 - eye)
    found: Table = e[..., None] * off / off.sum(axis=-1, keepdims=True) + (1 - e)[..., None] * eye
    return found


_log_gamma = np.vectorize(math.lgamma, otypes=[np.float64])
