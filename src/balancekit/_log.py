"""Where do mishaps in other people's code go? To the standard library's logger ``balancekit``.

Silent unless the application configures logging. The module is imported when there is something to say:
importing ``logging`` costs 18 ms, and a balancer that nothing goes wrong with never needs it.
"""

from __future__ import annotations

__all__ = ["log_error"]


def log_error(message: str, *arguments: object) -> None:
    """Log an error with the traceback of the exception being handled."""
    import logging  # noqa: PLC0415

    logger = logging.getLogger("balancekit")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    logger.error(message, *arguments, exc_info=True)  # noqa: LOG014 - callers handle an exception
