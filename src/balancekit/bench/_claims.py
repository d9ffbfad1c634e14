"""Claims, tables and tolerances: the comparison of measured values with expected values.

A *claim* has a measured value, the expected value, and the interval in which the measured value must lie. The interval is
five standard errors to either side (``Z``), or a range from a named source. No tolerance is guessed. The standard error
comes from a formula where there is one. For figures of queues it comes from batch means, and is widened by Student's
factor. For a figure with a skewed distribution, the interval is wider above than below.

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
"""Number of standard errors that are allowed. A correct program fails one of 1.7 million claims."""

Cell: TypeAlias = str | int | float | None


class Column(Record):
    """A column of a table: its name, and the format of its numbers, such as ``.1%`` or ``.3f``."""

    name: str
    form: str = ""

    def text(self, cell: Cell) -> str:
        """Return a cell as text."""
        if cell is None:
            return "-"
        return cell if isinstance(cell, str) else format(cell, self.form)


class Table(Record):
    """A table of results: a name, a title, columns, and rows of cells."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def _check(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), self.name

    def where(self, **wanted: Cell) -> list[dict[str, Any]]:
        """Return the rows with these values in the named columns, each as a dictionary."""
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
    """A measured value and the expected value.

    Parameters
    ----------
    name
        A stable name, unique in its topic.
    text
        The statement that is claimed.
    measured
        The measured value.
    right
        The expected value; ``None`` where only a range is known.
    low, high
        The claim holds if ``low <= measured <= high``.
    form
        Format of the values, such as ``.3f``.
    source
        Source of the expected value and of the tolerance.
    judged
        Whether the claim is judged. A claim about speed is not judged if the machine was busy.
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
        """Return a claim that a value is within five standard errors of the expected one.

        Parameters
        ----------
        name, text, measured, right
            See :class:`Claim`.
        error
            Standard error of the measured value. With 0, it must equal the expected value except for rounding.
        skew
            Skewness of the measured value, >= 0. With a positive one, the interval is wider above.
        more
            Other fields of the claim.
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
        """Whether the measured value is within the bounds, or is not judged. NaN is never within them."""
        return not self.judged or self.low <= self.measured <= self.high

    @property
    def verdict(self) -> str:
        """``holds``, ``fails`` or ``not judged``."""
        return ("holds" if self.holds else "fails") if self.judged else "not judged"

    @property
    def allowed(self) -> str:
        """The interval as text."""
        if self.low == -math.inf:
            return f"at most {self.high:{self.form}}"
        if self.high == math.inf:
            return f"at least {self.low:{self.form}}"
        low, high = f"{self.low:{self.form}}", f"{self.high:{self.form}}"
        return "exactly" if low == high else f"{low} to {high}"

    def data(self) -> dict[str, object]:
        """Return the claim as plain values for JSON. Values that are not finite become ``None``."""
        found: dict[str, object] = {name: getattr(self, name) for name in self._fields if name != "form"}
        for end in ("low", "high", "measured"):
            value = getattr(self, end)
            found[end] = value if math.isfinite(value) else None
        return found | {"holds": self.holds}


class Findings(Record):
    """Results of a topic or of a part of it: claims and tables."""

    claims: tuple[Claim, ...] = ()
    tables: tuple[Table, ...] = ()

    def __getitem__(self, name: str) -> Table:
        """Return the table with this name.

        Raises
        ------
        KeyError
            If there is no such table.
        """
        for table in self.tables:
            if table.name == name:
                return table
        raise KeyError(name)

    @property
    def holds(self) -> bool:
        """Whether all claims hold."""
        return all(claim.holds for claim in self.claims)


class Step(Record):
    """A part of a topic: a label that shows progress, and a function that measures."""

    label: str
    run: Callable[[], Findings]


def joined(parts: Iterable[Findings]) -> Findings:
    """Return the claims and tables of all parts. Tables with the same name are joined into one."""
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
    """Return the number of estimated standard errors that is exceeded as rarely as ``z`` known ones.

    Parameters
    ----------
    freedom
        Degrees of freedom of the estimate, >= 10. Below, the expansion is not accurate.
    z
        Number of standard errors of a normal variable.

    Raises
    ------
    ConfigurationError
        If ``freedom`` is not a whole number >= 10.

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
    """Return the number of standard errors that a skewed variable exceeds as rarely as a normal one exceeds ``z``.

    Parameters
    ----------
    skew
        Skewness of the variable, 0 to 1.2. Its excess kurtosis is assumed to be 1.6 times the square of it, which is between
        those of a Gamma and a Gumbel distribution.
    z
        Number of standard errors of a normal variable.

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
    """Return the standard error of a figure of correlated values, by batch means.

    The values are split into batches in their order, and the figure is computed for each batch. The standard deviation of
    these figures gives the standard error. It is multiplied by ``student(batches - 1) / Z``, because it is an estimate; so
    ``Z`` of it are exceeded as rarely as ``Z`` known standard errors.
    """
    found = [figure(batch) for batch in np.array_split(values, batches)]
    return float(np.std(found, ddof=1)) / math.sqrt(batches) * student(batches - 1) / Z


def chi_square_limit(freedom: int, z: float = Z) -> float:
    """Return the maximum of Pearson's chi-square divided by its degrees of freedom.

    Example
    -------
    >>> round(chi_square_limit(9), 2)
    5.46
    """
    spread = 2.0 / (9.0 * freedom)
    return (1.0 - spread + z * math.sqrt(spread)) ** 3


def chi_square(counts: Sequence[int] | NDArray[np.int64], shares: Sequence[float]) -> float:
    """Return Pearson's chi-square of counts against shares, divided by its degrees of freedom. The expected value is 1."""
    seen = np.asarray(counts, dtype=float)
    expected = seen.sum() * np.asarray(shares)
    return float(((seen - expected) ** 2 / expected).sum()) / (len(seen) - 1)
