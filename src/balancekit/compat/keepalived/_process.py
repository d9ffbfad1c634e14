"""A keepalived 2.2.7 process: instances, sync groups, tracked scripts and files, and bad packets.

It deviates from VRRP in four points. All are reproduced here, because peers depend on them:

- An interval of 0 is adopted, so a backup takes over at once.
- An advert may be dropped for its checksum, TTL, version, type or addresses. It still delays the next advert of an active
  instance by a whole interval. If a peer sends such adverts at the same interval, the active instance sends no adverts at
  all, but keeps the addresses. In version 3 over IPv4, a checksum without the pseudo-header is dropped.
- The priority of an instance in a sync group, and of an address owner, is fixed. Such an instance does not track scripts and
  files with a weight. A file of weight 1 is an exception: it is tracked as a file of weight 0.
- An active instance of priority 255 that receives an advert of priority 255 has priority 254 from then on.

:mod:`balancekit.ha` does not delay adverts so: there, a rejected advert changes nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.record import Record
from balancekit.compat.keepalived._instance import Instance
from balancekit.errors import ConfigurationError
from balancekit.ha import (
    OWNER,
    Advert,
    Ipv4Checksum,
    MemberEffect,
    RejectedAdvert,
    Role,
    SyncGroup,
    SyncGroupMachine,
    TrackedCheck,
    Tracking,
    TrackingMachine,
    VirtualRouter,
    decode_advert,
    encode_advert,
)

__all__ = ["Keepalived", "KeepalivedProcess", "TrackFile", "TrackScript"]

HEADER_BYTES: Final = 8
"""The least length of a packet that is matched to an instance."""


class TrackScript(Record):
    """A ``vrrp_script`` section that instances track."""

    weight: int = 0
    """Added to the priority. If 0, a failure is a fault. Instances with a fixed priority only track scripts of weight 0."""
    rise: int = 1
    """Passed runs in a row after which the script counts as passed."""
    fall: int = 1
    """Failed runs in a row after which the script counts as failed."""
    interval: float = 1.0
    """Seconds between runs. The caller runs the script and reports each result."""
    instances: tuple[str, ...] = ()
    """The names of the instances that track it; all if left out."""


DEFAULT_WEIGHT: Final = 1
"""The weight of a tracked file for which none is given. keepalived treats an explicit weight of 1 in the same way."""


class TrackFile(Record):
    """A ``track_file`` section.

    The number in the file, times the weight, is added to the priority. If the weight is 0, a number other than 0 is a fault.
    """

    weight: int = DEFAULT_WEIGHT
    instances: tuple[str, ...] = ()
    """The names of the instances that track it; all if left out."""


class Keepalived(Record):
    """The configuration of a process.

    Parameters
    ----------
    instances
        ``vrrp_instance`` sections by name.
    sync_groups
        ``vrrp_sync_group`` sections: the names of instances, by the name of the group.
    scripts, files
        ``vrrp_script`` and ``track_file`` sections by name.

    Raises
    ------
    ConfigurationError
        If a group, a script or a file names an instance that does not exist, or an instance is in two groups.

    Example
    -------
    >>> from balancekit.compat.keepalived import Instance, Keepalived
    >>> instance = Instance(virtual_router_id=51, virtual_ipaddress=("192.0.2.100",), unicast_src_ip="192.0.2.11")
    >>> process = Keepalived(instances={"VI": instance})()
    >>> [f"{name}: {effect}" for name, effect in process.start(now=0.0)]
    ['VI: initialize -> backup: started']
    """

    instances: Mapping[str, Instance]
    sync_groups: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    scripts: Mapping[str, TrackScript] = MappingProxyType({})
    files: Mapping[str, TrackFile] = MappingProxyType({})

    def _check(self) -> None:
        named = [name for group in self.sync_groups.values() for name in group]
        if len(set(named)) < len(named):
            raise ConfigurationError("sync_groups", dict(self.sync_groups), "each instance in one group")
        tracked = [name for script in self.scripts.values() for name in script.instances]
        tracked += [name for file in self.files.values() for name in file.instances]
        for name in (*named, *tracked):
            if name not in self.instances:
                raise ConfigurationError("instances", name, f"one of {', '.join(self.instances)}")

    def __call__(self) -> KeepalivedProcess:
        """Return a process with this configuration."""
        return KeepalivedProcess(self)


class KeepalivedProcess(ConstructorRepr):
    """A process without I/O, made by :class:`Keepalived`. Its methods are those of :class:`~balancekit.ha.SyncGroupMachine`."""

    @checked_arguments
    def __init__(self, config: Keepalived) -> None:
        self.config: Keepalived = config
        self.routers: Mapping[str, VirtualRouter] = {
            name: instance.router() for name, instance in config.instances.items()
        }
        grouped = {name: group for group in config.sync_groups.values() for name in group}
        groups = dict.fromkeys([grouped.get(name, (name,)) for name in config.instances])
        self._groups = [SyncGroup(routers={name: self.routers[name] for name in group})() for group in groups]
        self._groups_by_instance = {name: group for group in self._groups for name in group.routers}
        self._fixed = {
            name for name, router in self.routers.items() if name in grouped or router.priority == OWNER
        }
        self._tracking = {name: self._tracked(name) for name in config.instances}

    @property
    def deadline(self) -> float | None:
        """The time at which to call :meth:`advance` next, ``None`` if no time is set."""
        due = [group.deadline for group in self._groups if group.deadline is not None]
        return min(due, default=None)

    @checked_arguments
    def role(self, instance: str) -> Role:
        """Return the role of an instance.

        Raises
        ------
        ConfigurationError
            If there is no such instance.
        """
        return self.group_of(instance).machines[instance].role

    @checked_arguments
    def start(self, *, now: float) -> tuple[MemberEffect, ...]:
        """Start every instance."""
        return self._each(lambda group: group.start(now=now))

    @checked_arguments
    def stop(self, *, now: float) -> tuple[MemberEffect, ...]:
        """Stop every instance; active ones resign."""
        return self._each(lambda group: group.stop(now=now))

    @checked_arguments
    def advance(self, *, now: float) -> tuple[MemberEffect, ...]:
        """Carry out what is due at ``now``, such as adverts and elections. Return the effects."""
        return self._each(lambda group: group.advance(now=now))

    @checked_arguments
    def receive_packet(
        self, data: bytes, *, source: str, destination: str, hop_limit: int, now: float
    ) -> tuple[MemberEffect, ...]:
        """Receive a packet as keepalived does.

        Raises
        ------
        RejectedAdvert
            If the packet is dropped. The next advert of the instance is then delayed by an interval, if it is active.
        """
        name = self._matched(data, source)
        group = self._groups_by_instance[name]
        try:
            advert = decode_advert(data, source=source, destination=destination, hop_limit=hop_limit)
            if _lacks_pseudo_header(advert, data, source, destination):
                raise RejectedAdvert("checksum without pseudo-header")  # noqa: TRY301 - as any other
            self._yield(name, advert, source)
            return group.receive(advert, source, now=now)
        except RejectedAdvert:
            machine = group.machines[name]
            if machine.role is Role.ACTIVE:
                machine.deadline = now + machine.config.interval
            raise

    @checked_arguments
    def set_priority(
        self, priority: int, *, now: float, member: str | None = None
    ) -> tuple[MemberEffect, ...]:
        """Change the priority of an instance, or of all, as a reload does.

        An active instance sends an advert at once. A backup waits a whole down time from now on.
        """
        names = self.config.instances if member is None else (member,)
        found = [self.group_of(name).set_priority(priority, now=now, member=name) for name in names]
        for name in names:
            self.group_of(name).machines[name].renew(now=now)
        return self._flat(found)

    @checked_arguments
    def fault(
        self, reason: str = "fault", *, now: float, member: str | None = None
    ) -> tuple[MemberEffect, ...]:
        """Put an instance and its group into FAULT, or without ``member`` all instances."""
        names = self.config.instances if member is None else (member,)
        return self._flat([self.group_of(name).fault(reason, now=now, member=name) for name in names])

    @checked_arguments
    def clear(
        self, reason: str = "fault", *, now: float, member: str | None = None
    ) -> tuple[MemberEffect, ...]:
        """End the fault of an instance and its group, or without ``member`` of all instances."""
        names = self.config.instances if member is None else (member,)
        return self._flat([self.group_of(name).clear(reason, now=now, member=name) for name in names])

    @checked_arguments
    def script(self, name: str, *, passed: bool, now: float) -> tuple[MemberEffect, ...]:
        """Record the result of a run of a tracked script.

        Raises
        ------
        ConfigurationError
            If there is no such script.
        """
        found: list[tuple[MemberEffect, ...]] = []
        _known("name", name, self.config.scripts)
        for instance in self.config.scripts[name].instances or self.config.instances:
            if name in self._tracking[instance].config.checks:
                self._tracking[instance].report(name, passed=passed)
                found.append(self._apply(instance, now))
        return self._flat(found)

    @checked_arguments
    def file(self, name: str, value: int, *, now: float) -> tuple[MemberEffect, ...]:
        """Record the number in a tracked file.

        Raises
        ------
        ConfigurationError
            If there is no such file.
        """
        found: list[tuple[MemberEffect, ...]] = []
        _known("name", name, self.config.files)
        for instance in self.config.files[name].instances or self.config.instances:
            if name in self._tracking[instance].config.values:
                self._tracking[instance].set_value(name, value)
                found.append(self._apply(instance, now))
        return self._flat(found)

    @checked_arguments
    def group_of(self, instance: str) -> SyncGroupMachine:
        """Return the machines of the sync group that an instance is in.

        Raises
        ------
        ConfigurationError
            If there is no such instance.
        """
        _known("instance", instance, self._groups_by_instance)
        return self._groups_by_instance[instance]

    def _tracked(self, instance: str) -> TrackingMachine:
        fixed = instance in self._fixed
        checks = {
            name: TrackedCheck(weight=script.weight, rise=script.rise, fall=script.fall)
            for name, script in self.config.scripts.items()
            if instance in (script.instances or self.config.instances) and not (fixed and script.weight)
        }
        values = {
            name: 0 if fixed else file.weight
            for name, file in self.config.files.items()
            if instance in (file.instances or self.config.instances)
            and not (fixed and file.weight not in {0, DEFAULT_WEIGHT})
        }
        return TrackingMachine(Tracking(checks=checks, values=values), self.routers[instance])

    def _apply(self, instance: str, now: float) -> tuple[MemberEffect, ...]:
        return self._tracking[instance].apply(_Member(self, instance), now=now)

    def _matched(self, data: bytes, source: str) -> str:
        """Return the name of the instance that a packet is for. Refuse a packet that is too short or for no instance."""
        version = ipaddress.ip_address(source.partition("%")[0]).version
        if len(data) >= HEADER_BYTES:
            for name, router in self.routers.items():
                if router.vrid == data[1] and ipaddress.ip_address(router.source).version == version:
                    return name
        raise RejectedAdvert("for no instance")

    def _yield(self, name: str, advert: Advert, source: str) -> None:
        """Lower the priority of an active instance of priority 255 that receives an advert of 255."""
        machine = self._groups_by_instance[name].machines[name]
        both = machine.config.priority == advert.priority == OWNER
        if both and machine.role is Role.ACTIVE and machine.config.rejection(advert, source) is None:
            machine.priority = OWNER - 1

    def _each(self, call: Callable[[SyncGroupMachine], tuple[MemberEffect, ...]]) -> tuple[MemberEffect, ...]:
        return self._flat([call(group) for group in self._groups])

    def _flat(self, found: Iterable[tuple[MemberEffect, ...]]) -> tuple[MemberEffect, ...]:
        return tuple([effect for effects in found for effect in effects])


def _known(parameter: str, name: str, names: Mapping[str, object]) -> None:
    if name not in names:
        raise ConfigurationError(
            parameter, name, f"one of {', '.join(names)}" if names else "none: there is none"
        )


def _lacks_pseudo_header(advert: Advert, data: bytes, source: str, destination: str) -> bool:
    """Return whether the checksum leaves out the pseudo-header, which version 3 over IPv4 requires."""
    if advert.version != 3 or ":" in source:
        return False
    plain = encode_advert(advert, source=source, destination=destination, ipv4_checksum=Ipv4Checksum.PLAIN)
    return data == plain


class _Member:
    """One instance of a process. A tracking machine sets its priority and its faults."""

    def __init__(self, process: KeepalivedProcess, name: str) -> None:
        self._process = process
        self._name = name

    def set_priority(self, priority: int, *, now: float) -> tuple[MemberEffect, ...]:
        group = self._process.group_of(self._name)
        return group.set_priority(priority, now=now, member=self._name)

    def fault(self, reason: str, *, now: float) -> tuple[MemberEffect, ...]:
        return self._process.fault(reason, now=now, member=self._name)

    def clear(self, reason: str, *, now: float) -> tuple[MemberEffect, ...]:
        return self._process.clear(reason, now=now, member=self._name)
