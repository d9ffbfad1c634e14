"""Two routers and a client on a switch, each in a network namespace of its own; needs root and iproute2.

Whatever it starts it ends, by process id, and it deletes the namespaces that it made.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
PATIENCE_S = 15.0
CLONE_NEWNET = 0x4000_0000
ADDRESSES = {
    "r1": ("192.0.2.11", "fe80::11"),
    "r2": ("192.0.2.12", "fe80::12"),
    "client": ("192.0.2.50", "fe80::50"),
}


def why_not():
    """Return why a lab cannot be had here, ``None`` if it can."""
    if not sys.platform.startswith("linux"):
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "no iproute2"
    name = f"bk{os.getpid()}-try"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return "this system has no network namespaces to make"
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return None


def keepalived():
    """Return why keepalived cannot be run here, ``None`` if it can."""
    return None if shutil.which("keepalived") else "keepalived is not installed"


class Lab:
    """The namespaces and the processes in them."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.prefix = f"bk{os.getpid()}-"
        self.processes = []

    def __enter__(self):
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self.processes:
            self.kill(process)
        for name in ("switch", *ADDRESSES):
            subprocess.run(["ip", "netns", "del", self.prefix + name], capture_output=True, check=False)

    def _build(self):
        switch = self.prefix + "switch"
        self.run("ip", "netns", "add", switch)
        # ageing 0: a hub, so that the probe sees unicast adverts too
        self.run(
            *f"ip -n {switch} link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0 ageing_time 0".split()
        )
        self.run(*f"ip -n {switch} link set br0 up".split())
        for name, (four, six) in ADDRESSES.items():
            space = self.prefix + name
            self.run("ip", "netns", "add", space)
            self.run(*f"ip -n {space} link add eth0 type veth peer name {name} netns {switch}".split())
            self.run(*f"ip -n {switch} link set {name} master br0 up".split())
            for setting in ("all", "default", "eth0"):
                self.inside(name, "sysctl", "-qw", f"net.ipv6.conf.{setting}.accept_dad=0", check=False)
                self.inside(name, "sysctl", "-qw", f"net.ipv6.conf.{setting}.addr_gen_mode=1", check=False)
            self.run(*f"ip -n {space} link set lo up".split())
            self.run(*f"ip -n {space} address add {four}/24 dev eth0".split())
            self.run(*f"ip -n {space} link set eth0 up".split())
            self.run(*f"ip -n {space} address add {six}/64 dev eth0 nodad".split())
            host = four.rpartition(".")[2]
            self.run(*f"ip -n {space} address add 2001:db8::{host}/64 dev eth0 nodad".split())

    # ------------------------------------------------------------------ commands

    def run(self, *words, check=True):
        """Run a command to its end."""
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert not check or not done.returncode, f"{' '.join(words)}: {done.stderr}"
        return done.stdout

    def inside(self, node, *words, check=True):
        """Run a command in a namespace, to its end."""
        return self.run("ip", "netns", "exec", self.prefix + node, *words, check=check)

    def start(self, node, *words):
        """Start a process in a namespace, before others in the queue for a processor."""
        log = (self.folder / f"{node}-{len(self.processes)}.log").open("wb")
        process = subprocess.Popen(
            ["nice", "-n", "-15", "ip", "netns", "exec", self.prefix + node, *words],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        log.close()
        self.processes.append(process)
        return process

    def kill(self, process):
        """Kill a process without a word, the children before it: a keepalived child that loses its parent resigns."""
        for child in _children(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.communicate(timeout=PATIENCE_S)

    def stop(self, process):
        """End a process in an orderly way and return what it printed."""
        process.terminate()
        return process.communicate(timeout=PATIENCE_S)[0]

    def unplug(self, node):
        """Take a node off the switch, as a dead machine is."""
        self.run("ip", "-n", self.prefix + "switch", "link", "set", node, "down")

    def plug_in(self, node):
        """Put it back."""
        self.run("ip", "-n", self.prefix + "switch", "link", "set", node, "up")

    def has(self, node, address):
        """Return whether a node has an address."""
        shown = self.run("ip", "-n", self.prefix + node, "-o", "address", "show", "dev", "eth0")
        return f" {address}/" in shown

    @contextlib.contextmanager
    def entered(self, node):
        """Let this thread, and the threads that it starts, be in a node's namespace."""
        libc = ctypes.CDLL(None, use_errno=True)
        here, other = Path("/proc/thread-self/ns/net"), Path("/run/netns") / f"{self.prefix}{node}"
        with here.open() as home, other.open() as there:
            assert libc.setns(there.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert libc.setns(home.fileno(), CLONE_NEWNET) == 0

    def wait_for(self, node, address, *, present=True):
        """Wait until a node has an address, or has it no more."""
        end = time.monotonic() + PATIENCE_S
        while self.has(node, address) is not present:
            assert time.monotonic() < end, f"{node}, {address}: not {'there' if present else 'gone'}"
            time.sleep(0.02)

    # ------------------------------------------------------------------ programs

    def ours(self, node, router, address="192.0.2.100/24", *, source=None):
        """Start our router by the command line, options by their names there, and wait until it has started."""
        words = ["--interface", "eth0", "--vrid", "51", "--address", address]
        words += ["--source", source or ADDRESSES[node][0]]
        for name, value in router.items():
            words += (
                [f"--{name.replace('_', '-')}"]
                if value is True
                else [f"--{name.replace('_', '-')}", str(value)]
            )
        process = self.start(node, sys.executable, "-m", "balancekit", "vrrp", "run", *words)
        assert process.stdout.readline(), f"the router of {node} did not start"
        return process

    def theirs(self, node, instances):
        """Start keepalived with some instances, each a mapping from directives to values."""
        text = f"global_defs {{\n router_id {node}\n vrrp_garp_master_delay 1\n vrrp_version 3\n}}\n"
        for name, instance in instances.items():
            lines = [
                f" {word} {value}" for word, value in instance.items() if word not in {"addresses", "peers"}
            ]
            addresses = "\n".join(f"  {address}" for address in instance["addresses"])
            peers = "\n".join(f"  {peer}" for peer in instance.get("peers", ()))
            block = f" unicast_peer {{\n{peers}\n }}\n" if peers else ""
            text += (
                f"vrrp_instance {name} {{\n state BACKUP\n interface eth0\n"
                + "\n".join(lines)
                + f"\n{block} virtual_ipaddress {{\n{addresses}\n }}\n}}\n"
            )
        count = len(self.processes)
        conf = self.folder / f"{node}-{count}.conf"
        conf.write_text(text)
        pids = [f"--{kind}={self.folder}/{node}-{count}.{kind}" for kind in ("pid", "vrrp_pid")]
        return self.start(node, "keepalived", "-n", "-l", "-P", "-f", str(conf), *pids)

    @contextlib.contextmanager
    def probe(self, address="192.0.2.100"):
        """Ping an address and listen to the wire; yields what is filled in at the end."""
        process = self.start("client", sys.executable, str(HERE / "_probe.py"), "eth0", address)
        assert "ready" in json.loads(process.stdout.readline())
        seen = {}
        try:
            yield seen
        finally:
            lines = self.stop(process).splitlines()
            seen.update(json.loads(lines[-1]) if lines else {})


def _children(pid):
    """Return the descendants of a process, the deepest first."""
    found = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in listed.read_text().split():
            found += [*_children(int(child)), int(child)]
    return found
