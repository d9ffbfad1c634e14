"""The error that a check raises when a law is broken."""

from __future__ import annotations

__all__ = ["LawBroken"]


class LawBroken(AssertionError):  # noqa: N818 - the name states what happened
    """A selector, load or health policy broke a law.

    Parameters
    ----------
    law
        The law's number and name.
    why
        The observation that breaks the law.
    """

    def __init__(self, law: str, why: str) -> None:
        super().__init__(law, why)
        self.law = law

    def __str__(self) -> str:
        return f"law {self.args[0]}: {self.args[1]}"
