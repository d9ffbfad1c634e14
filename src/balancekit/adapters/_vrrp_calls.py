"""Calls of the hooks of a VRRP driver: what is called, with what, and which hooks a driver takes."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from balancekit._support import validation as valid
from balancekit._support.functions import plain_function
from balancekit.errors import ConfigurationError
from balancekit.ha import Role

__all__ = ["HookCall", "HookKind", "RoleChange", "checked_hook", "hook_settings", "plain_hook"]

H = TypeVar("H")


class HookKind(enum.Enum):
    """What is to be called."""

    ACTIVE = "on_active"
    BACKUP = "on_backup"
    CHANGE = "on_change"
    ANNOUNCE = "announce"


class RoleChange(NamedTuple):
    """What a hook is called with."""

    member: str
    """The virtual router; ``"router"`` if it is in no sync group."""
    role: Role
    was: Role
    why: str
    addresses: tuple[str, ...]
    """What the virtual router protects."""


class HookCall(NamedTuple):
    """One thing to do that may take time."""

    kind: HookKind
    change: RoleChange


def checked_hook(parameter: str, hook: H) -> H:
    """Return a hook, or ``None``; raise ``ConfigurationError`` if it is neither."""
    if hook is None or callable(hook):
        return hook
    raise ConfigurationError(parameter, hook, "a callable")


def plain_hook(parameter: str, hook: H) -> H:
    """Return a hook that a thread can call, or ``None``; raise ``ConfigurationError`` if it is neither."""
    return hook if hook is None else plain_function(parameter, hook, "a callable")


def hook_settings(
    check: Callable[[str, H], H],
    on_active: H,
    on_backup: H,
    on_change: H,
    timeout: float,
    retry: float | None,
) -> tuple[dict[HookKind, H], float, float | None]:
    """Return the hooks of a driver by kind, each checked, their timeout and when they are retried."""
    hooks = {HookKind.ACTIVE: on_active, HookKind.BACKUP: on_backup, HookKind.CHANGE: on_change}
    return (
        {kind: check(kind.value, hook) for kind, hook in hooks.items()},
        valid.number("hook_timeout", timeout, above=0.0),
        None if retry is None else valid.number("hook_retry", retry, above=0.0),
    )
