"""High availability: which node holds an address now. Pure machines; drivers are in ``balancekit.adapters.vrrp``.

======================  ===================================================================
:class:`VirtualRouter`  one election for one set of addresses (VRRP), sans-IO
:class:`SyncGroup`      virtual routers that are active together or not at all
:class:`Tracking`       checks that lower a priority, or fault the router
:func:`place`           active-active: which node holds which address, without coordination
:class:`Quorum`         whether enough servers are up to be worth an address
:class:`Majority`       whether a node may be the only holder, with a witness
:func:`replay_adverts`  captured adverts under another configuration
======================  ===================================================================

VRRP has no quorum: routers that cannot see each other are all active, by design. Where that is worse than an
outage, join it to :class:`Majority`.
"""

from __future__ import annotations

from balancekit._support.lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from balancekit.ha._announce import gratuitous_arp, unsolicited_na
    from balancekit.ha._effects import Announce, Became, Effect, Send, Withdraw
    from balancekit.ha._group import MemberEffect, SyncGroup, SyncGroupMachine, packets
    from balancekit.ha._packet import (
        IPV4_GROUP,
        IPV6_GROUP,
        MAX_INTERVAL_S,
        PROTOCOL,
        Advert,
        Ipv4Checksum,
        RejectedAdvert,
        decode_advert,
        encode_advert,
    )
    from balancekit.ha._placement import place, priorities_for
    from balancekit.ha._quorum import (
        Majority,
        MajorityMachine,
        Quorum,
        QuorumMachine,
        QuorumState,
        VoteMachine,
    )
    from balancekit.ha._replay import AdvertReplay, LoggedAdvert, read_advert_log, replay_adverts
    from balancekit.ha._roles import VRRP, Action, Role, Step, VrrpTrigger, vrrp_page
    from balancekit.ha._router import VirtualRouter
    from balancekit.ha._settings import OWNER, RouterSettings
    from balancekit.ha._tracking import (
        SupportsTracking,
        TrackedCheck,
        TrackedState,
        Tracking,
        TrackingMachine,
    )
    from balancekit.ha._vrrp import VrrpMachine

__all__ = [
    "IPV4_GROUP",
    "IPV6_GROUP",
    "MAX_INTERVAL_S",
    "OWNER",
    "PROTOCOL",
    "VRRP",
    "Action",
    "Advert",
    "AdvertReplay",
    "Announce",
    "Became",
    "Effect",
    "Ipv4Checksum",
    "LoggedAdvert",
    "Majority",
    "MajorityMachine",
    "MemberEffect",
    "Quorum",
    "QuorumMachine",
    "QuorumState",
    "RejectedAdvert",
    "Role",
    "RouterSettings",
    "Send",
    "Step",
    "SupportsTracking",
    "SyncGroup",
    "SyncGroupMachine",
    "TrackedCheck",
    "TrackedState",
    "Tracking",
    "TrackingMachine",
    "VirtualRouter",
    "VoteMachine",
    "VrrpMachine",
    "VrrpTrigger",
    "Withdraw",
    "decode_advert",
    "encode_advert",
    "gratuitous_arp",
    "packets",
    "place",
    "priorities_for",
    "read_advert_log",
    "replay_adverts",
    "unsolicited_na",
    "vrrp_page",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and know no other names
    __getattr__ = lazily(
        __name__,
        {
            "_announce": ("gratuitous_arp", "unsolicited_na"),
            "_effects": ("Announce", "Became", "Effect", "Send", "Withdraw"),
            "_group": ("MemberEffect", "SyncGroup", "SyncGroupMachine", "packets"),
            "_packet": (
                "IPV4_GROUP",
                "IPV6_GROUP",
                "MAX_INTERVAL_S",
                "PROTOCOL",
                "Advert",
                "Ipv4Checksum",
                "RejectedAdvert",
                "decode_advert",
                "encode_advert",
            ),
            "_placement": ("place", "priorities_for"),
            "_quorum": (
                "Majority",
                "MajorityMachine",
                "Quorum",
                "QuorumMachine",
                "QuorumState",
                "VoteMachine",
            ),
            "_replay": ("AdvertReplay", "LoggedAdvert", "read_advert_log", "replay_adverts"),
            "_roles": ("VRRP", "Action", "Role", "Step", "VrrpTrigger", "vrrp_page"),
            "_router": ("VirtualRouter",),
            "_settings": ("OWNER", "RouterSettings"),
            "_tracking": ("SupportsTracking", "TrackedCheck", "TrackedState", "Tracking", "TrackingMachine"),
            "_vrrp": ("VrrpMachine",),
        },
    )


def __dir__() -> list[str]:
    return list(__all__)
