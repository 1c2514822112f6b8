"""What the last container on a bridge leaves to a child in the background: the bridge, its rules, the name server.

The kernel takes 50 ms to delete a bridge and 15 until it has freed a deleted rule.
"""

from __future__ import annotations

import os
import time

from podling import log
from podling.errors import PodlingError, explain
from podling.linux import netlink, rtnetlink
from podling.network import dns, firewall
from podling.network.bridge import links, members
from podling.network.firewall import firewalld

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from podling.config.containers import ContainersConf

_PORTS_VANISH_SECONDS = 1.0       # ended containers' interfaces go a moment after their namespaces


def in_background(conf: ContainersConf, runroot: str) -> None:
    """Sweep, in a grandchild, which nobody needs to wait for, what nobody is on any more; a killed one's too."""
    driver = firewall.driver(conf)
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        if os.fork() == 0:
            os.setsid()
            _close_all_but(driver.held())
            now(conf, runroot)
    except (PodlingError, OSError) as error:
        log.debug(f"sweeping up networks: {explain(error)}")
    finally:
        os._exit(0)


def now(conf: ContainersConf, runroot: str) -> None:
    """Sweep here, and wait for it."""
    for name in members.networks(runroot):
        _sweep(name, conf, runroot)
    dns.end_unused(runroot=runroot)


def _close_all_but(keep: Iterable[int]) -> None:
    """Nothing that this process' parent has open is kept open by it: locks, pipes that somebody reads to their end."""
    kept = set(keep)
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in kept:
            try:
                os.close(int(name))
            except OSError:                            # the listing's own
                continue


def _sweep(name: str, conf: ContainersConf, runroot: str) -> None:
    """Delete the network's bridge and rules, if nobody is on it."""
    if members.left_by_all(runroot, name) is None:
        return
    with netlink.Connection(netlink.ROUTE) as route, members.lock(runroot):
        network = members.left_by_all(runroot, name)
        if network is None:
            return
        link = rtnetlink.find_link(route, network.interface) if links.managed(network) else None
        if link is not None and not _ports_left(route, link.index):
            route.run([rtnetlink.delete_link(link.index)])
        members.forget(runroot, name)
        driver = firewall.driver(conf)
        if links.managed(network):
            rules = firewall.rules(network, conf)
            driver.remove_network(rules)
            if conf.firewall_driver != "none":
                firewalld.distrust(rules)
        if not members.networks(runroot):
            driver.remove_all()


def _ports_left(route: netlink.Connection, master: int) -> bool:
    """Whether somebody else, Podman for one, has interfaces on the bridge; those of ended containers are waited for."""
    deadline = time.monotonic() + _PORTS_VANISH_SECONDS
    while rtnetlink.count_ports(route, master):
        if time.monotonic() > deadline:
            return True
        time.sleep(0.005)
    return False
