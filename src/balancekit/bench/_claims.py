"""Claims, tables and tolerances: whether a measured figure agrees with the expected one.

A *claim* holds one measured figure, the right one and the interval in which chance leaves a right program: five
standard errors to either side (``Z``), or a range from a named source. No tolerance is picked by eye. The standard
error comes from a formula where there is one; for figures of queues from batch means, widened by Student's factor.
Figures that chance makes larger more often than smaller have a wider interval above.

Source: batch means and Student's t: Law, "Simulation Modeling and Analysis", chapter 9; the expansions of t and of
skewed quantiles about the normal one: Abramowitz and Stegun 26.7.5, 26.2.49; chi-square: Wilson and Hilferty (1931).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from balancekit._support import validation as valid
from balancekit._support.record import Record

__all__ = [
    "Cell",
    "Claim",
    "Column",
    "Findings",
    "Step",
    "Table",
    "Z",
    "batch_error",
    "chi_square",
    "chi_square_limit",
    "deviation",
    "joined",
    "skewed",
    "student",
]

Z: Final = 5.0
"""Standard errors: a right program fails one such gate in 1.7 million."""

Cell: TypeAlias = str | int | float | None


class Column(Record):
    """A column of a table: its name, and how its numbers are written (``.1%``, ``.3f``)."""

    name: str
    form: str = ""

    def text(self, cell: Cell) -> str:
        """Return a cell for people."""
        if cell is None:
            return "-"
        return cell if isinstance(cell, str) else format(cell, self.form)


class Table(Record):
    """Figures by row."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def _check(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), self.name

    def where(self, **wanted: Cell) -> list[dict[str, Any]]:
        """Return the rows with these values in the named columns, each as a mapping."""
        names = [column.name for column in self.columns]
        rows = [dict(zip(names, row, strict=True)) for row in self.rows]
        return [row for row in rows if all(row[name] == value for name, value in wanted.items())]

    def data(self) -> dict[str, object]:
        """Return the table as plain data."""
        names = [column.name for column in self.columns]
        return {
            "name": self.name,
            "title": self.title,
            "columns": names,
            "rows": [list(r) for r in self.rows],
        }


class Claim(Record):
    """A measured figure and the expected one.

    Parameters
    ----------
    name
        A stable name, unique in its topic.
    text
        What is claimed, for people.
    measured
        What was found.
    right
        What theory or a source says; ``None`` where only a range is known.
    low, high
        Where the measured figure must lie.
    form
        How figures are written.
    source
        Where the right figure and the tolerance are from.
    judged
        Whether the figure can be judged: not, if it is of speed and the machine was busy.
    """

    name: str
    text: str
    measured: float
    right: float | None
    low: float
    high: float
    form: str = ".3f"
    source: str = ""
    judged: bool = True

    @classmethod
    def near(
        cls,
        name: str,
        text: str,
        measured: float,
        right: float,
        error: float,
        *,
        skew: float = 0.0,
        **more: Any,
    ) -> Claim:
        """Claim a figure within five standard errors of the right one; an ``error`` of 0 means exactly.

        ``skew`` is the skewness of the figure, >= 0: how much further than down it may be up.
        """
        margin, rounding = Z * error, 1e-12 * abs(right)
        return cls(
            name=name,
            text=text,
            measured=float(measured),
            right=float(right),
            low=float(right - margin - rounding),
            high=float(right + skewed(skew) * error + rounding),
            **more,
        )

    @property
    def holds(self) -> bool:
        """Whether the measured figure lies where it must, or cannot be judged. Not a number never does."""
        return not self.judged or self.low <= self.measured <= self.high

    @property
    def verdict(self) -> str:
        """``holds``, ``fails`` or ``not judged``."""
        return ("holds" if self.holds else "fails") if self.judged else "not judged"

    @property
    def allowed(self) -> str:
        """The interval for people."""
        if self.low == -math.inf:
            return f"at most {self.high:{self.form}}"
        if self.high == math.inf:
            return f"at least {self.low:{self.form}}"
        low, high = f"{self.low:{self.form}}", f"{self.high:{self.form}}"
        return "exactly" if low == high else f"{low} to {high}"

    def data(self) -> dict[str, object]:
        """Return the claim as plain data; an open end of the interval is ``None``."""
        found: dict[str, object] = {name: getattr(self, name) for name in self._fields if name != "form"}
        for end in ("low", "high", "measured"):
            value = getattr(self, end)
            found[end] = value if math.isfinite(value) else None
        return found | {"holds": self.holds}


class Findings(Record):
    """What was found out: claims with verdicts, and tables."""

    claims: tuple[Claim, ...] = ()
    tables: tuple[Table, ...] = ()

    def __getitem__(self, name: str) -> Table:
        """Return the table of that name."""
        return next(table for table in self.tables if table.name == name)

    @property
    def holds(self) -> bool:
        """Whether every claim does."""
        return all(claim.holds for claim in self.claims)


class Step(Record):
    """A part of a topic: a label for progress, and a function."""

    label: str
    run: Callable[[], Findings]


def joined(parts: Iterable[Findings]) -> Findings:
    """Return everything in one; tables of the same name become one table."""
    claims: list[Claim] = []
    tables: dict[str, Table] = {}
    for part in parts:
        claims += part.claims
        for table in part.tables:
            known = tables.get(table.name)
            tables[table.name] = table if known is None else known.replace(rows=(*known.rows, *table.rows))
    return Findings(claims=tuple(claims), tables=tuple(tables.values()))


def deviation(share: float) -> float:
    """Return the standard deviation of one trial that succeeds with this probability: ``sqrt(p (1 - p))``."""
    return math.sqrt(share * (1.0 - share))


def student(freedom: int, z: float = Z) -> float:
    """Return how many estimated standard errors are as rare as ``z`` known ones.

    Parameters
    ----------
    freedom
        Degrees of freedom of the estimate, >= 10: the expansion is no good below.
    z
        Standard errors of a normal variable.

    Example
    -------
    >>> round(student(19), 1), round(student(1000), 2)
    (7.3, 5.03)
    """
    v = float(valid.integer("freedom", freedom, minimum=10))
    terms = (
        (z**3 + z) / (4.0 * v),
        (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / (96.0 * v**2),
        (3.0 * z**7 + 19.0 * z**5 + 17.0 * z**3 - 15.0 * z) / (384.0 * v**3),
    )
    return z + math.fsum(terms)


def skewed(skew: float, z: float = Z) -> float:
    """Return how many standard errors above its mean a skewed figure is as rarely as ``z`` of a normal one.

    Parameters
    ----------
    skew
        Its skewness, 0 to 1.2; its excess kurtosis is taken as 1.6 times the square, between Gamma's and Gumbel's.
    z
        Standard errors of a normal variable.

    Example
    -------
    >>> skewed(0.0), round(skewed(1.14), 1)
    (5.0, 11.0)
    """
    return (
        z
        + (z**2 - 1.0) * skew / 6.0
        + skew**2 * ((z**3 - 3.0 * z) * 1.6 / 24.0 - (2.0 * z**3 - 5.0 * z) / 36.0)
    )


def batch_error(
    values: NDArray[np.float64], batches: int = 20, figure: Callable[..., Any] = np.mean
) -> float:
    """Return the standard error of a figure of correlated values, in units in which ``Z`` of them are the gate.

    The values are cut into batches in the order in which they came; the spread of the batches' figures says how
    far chance moves the figure of all. As the spread is an estimate itself, it is widened by ``student / Z``.
    """
    found = [figure(batch) for batch in np.array_split(values, batches)]
    return float(np.std(found, ddof=1)) / math.sqrt(batches) * student(batches - 1) / Z


def chi_square_limit(freedom: int, z: float = Z) -> float:
    """Return what Pearson's chi-square over its degrees of freedom may be at most.

    Example
    -------
    >>> round(chi_square_limit(9), 2)
    5.46
    """
    spread = 2.0 / (9.0 * freedom)
    return (1.0 - spread + z * math.sqrt(spread)) ** 3


def chi_square(counts: Sequence[int] | NDArray[np.int64], shares: Sequence[float]) -> float:
    """Return Pearson's chi-square of counts against shares, over its degrees of freedom: 1 is what chance makes."""
    seen = np.asarray(counts, dtype=float)
    expected = seen.sum() * np.asarray(shares)
    return float(((seen - expected) ** 2 / expected).sum()) / (len(seen) - 1)
