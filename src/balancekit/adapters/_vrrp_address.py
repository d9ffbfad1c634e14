"""Addresses of an interface as hooks of a VRRP driver, by the command ``ip`` of iproute2."""

from __future__ import annotations

import ipaddress
import subprocess
from typing import Final, final

from balancekit._support import validation as valid
from balancekit._support.display import ConstructorRepr
from balancekit.adapters._vrrp_calls import RoleChange
from balancekit.errors import ConfigurationError

__all__ = ["IpAddressHook", "ip_address_hook"]

COMMAND_TIMEOUT_S: Final = 5.0
ALLOWED: Final = "an address with a prefix length, as 192.0.2.100/24"


@final
class IpAddressHook(ConstructorRepr):
    """Adds addresses to an interface, and removes them. Made by :func:`ip_address_hook`."""

    def __init__(self, interface: str, addresses: tuple[str, ...]) -> None:
        self.interface: str = interface
        self.addresses: tuple[str, ...] = addresses

    def add(self, change: RoleChange) -> None:
        """Add the addresses of the virtual router; those that are there already stay.

        Raises
        ------
        OSError
            If ``ip`` fails, with what it said.
        """
        for address in self._of(change):
            extra = ("nodad",) if ":" in address else ()  # the address is active before it is announced
            _ip("address", "replace", address, "dev", self.interface, *extra)

    def remove(self, change: RoleChange) -> None:
        """Remove the addresses of the virtual router, whatever their prefix length; those that are not there are no error.

        Raises
        ------
        OSError
            If ``ip`` fails, with what it said; the other addresses have been removed.
        """
        failed: list[OSError] = []
        for address in self._of(change):
            try:
                alone = ipaddress.ip_interface(address).ip
                one = f"{alone}/{alone.max_prefixlen}"
                _ip("address", "flush", "to", one, "dev", self.interface)
            except OSError as error:
                if "does not exist" not in str(error):  # an interface that is gone has none
                    failed.append(error)
        if failed:
            raise failed[0]

    def _of(self, change: RoleChange) -> list[str]:
        protected = {ipaddress.ip_address(address) for address in change.addresses}
        return [one for one in self.addresses if ipaddress.ip_interface(one).ip in protected]


def ip_address_hook(interface: str, *addresses: str) -> IpAddressHook:
    """Make a pair of hooks that move addresses to an interface and away from it.

    The driver sends the announcements after ``add`` has returned.

    Parameters
    ----------
    interface
        The name of the interface.
    addresses
        Addresses with a prefix length; those of a change's own virtual router are moved, no others.

    Raises
    ------
    ConfigurationError
        If there is no address, or one has no prefix length.

    Example
    -------
    >>> from balancekit.adapters.vrrp import ip_address_hook
    >>> hook = ip_address_hook("eth0", "192.0.2.100/24")
    >>> hook.addresses
    ('192.0.2.100/24',)
    """
    valid.text("interface", interface)
    for address in addresses:
        try:
            ipaddress.ip_interface(address)
        except ValueError:
            raise ConfigurationError("addresses", address, ALLOWED) from None
        if "/" not in address:
            raise ConfigurationError("addresses", address, ALLOWED)
    if not addresses:
        raise ConfigurationError("addresses", addresses, "one address or more")
    return IpAddressHook(interface, addresses)


def _ip(*words: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - words are checked addresses, no shell reads them
            ["ip", *words],  # noqa: S607 - where it is differs between distributions
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
            start_new_session=True,  # Ctrl-C goes to all processes of a terminal
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"ip {' '.join(words)}: not done after {COMMAND_TIMEOUT_S:g} s") from None
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
