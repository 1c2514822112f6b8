"""The specification that a container starts with, beside the one that podman gives the same container."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox import World

pytest_plugins = ["tests.support.busybox"]

# Where podman 4.3 and 5 differ ours is 5's.
LATER_MASKED = {"/sys/devices/virtual/powercap"}
NO_LONGER_MASKED = {"/sys/dev/block"}
CASES = {
    "default": "",
    "read-only": "--read-only",
    "read-only without tmpfs": "--read-only --read-only-tmpfs=false",
    "capabilities": "--cap-add NET_ADMIN --cap-drop CHOWN",
    "capabilities of a user": "--cap-add NET_ADMIN -u 1234",
    "no capabilities": "--cap-drop ALL",
    "numbers": "-u 1234:5678 --group-add 77",
    "device": "--device /dev/loop-control:/dev/xx:r --device /dev/fuse",
    "ulimits": "--ulimit nofile=100:200 --ulimit core=0 --ulimit nproc=4096",
    "sysctls": "--sysctl kernel.msgmax=65536",
    "pid host": "--pid=host",
    "ipc host": "--ipc=host",
    "ipc none": "--ipc=none",
    "ipc private": "--ipc=private",
    "uts host": "--uts=host",
    "cgroupns host": "--cgroupns=host",
    "cgroupns private": "--cgroupns=private",
    "network host": "--network host",
    "limits": "-m 64m --memory-reservation 32m --memory-swap 128m --cpus 0.5 --pids-limit 50 --cpu-shares 512 --cpuset-cpus 0-1 "
              "--cpuset-mems 0",
    "more limits": "-m 64m --memory-swappiness 10 --oom-kill-disable --cpu-period 50000 --cpu-quota 20000 --oom-score-adj 100",
    "seccomp unconfined": "--security-opt seccomp=unconfined",
    "mask and unmask": "--security-opt mask=/proc/foo:/proc/bar --security-opt unmask=/proc/sys:/proc/acpi",
    "unmask all": "--security-opt unmask=ALL",
    "no new privileges": "--security-opt no-new-privileges",
    "proc options": "--security-opt proc-opts=hidepid=2,nosuid,exec,nodev",
    "tmpfs": "--tmpfs /x:size=1m,mode=1770 --tmpfs /y",
    "volumes": "-v /tmp:/a:ro -v /tmp:/b:rslave -v /tmp:/c:shared -v vol1:/d -v /tmp:/etc/foo",
    "mounts": "--mount type=bind,src=/tmp,dst=/m,ro --mount type=tmpfs,dst=/t,tmpfs-size=1m --mount type=volume,src=vol1,dst=/v",
    "dev": "-v /dev:/dev",
    "systemd": "--systemd=always",
    "init": "--init --init-path /bin/busybox",
    "terminal": "-t",
    "host name": "--hostname foo",
    "environment": "-e A=1 -e HOME=/x -e TERM=vt100",
    "annotation": "--annotation a=b",
    "umask": "--umask 0077",
    "stop signal": "--stop-signal SIGQUIT",
    "time zone": "--tz local",
    "privileged": "--privileged",
    "privileged on the host": "--privileged --network host --pid host",
    "own ids": "--uidmap 0:70000:3000 --gidmap 0:80000:3000 --group-add 2000",
    "own ids of a user": "--uidmap 0:70000:3000 --privileged -u 1234:2678 --tmpfs /x:U",
    "own ids on the host": "--uidmap 0:70000:9000 --network host --pid host",
}


@pytest.fixture(scope="module")
def ready_world(shared_world: World, busybox: Path) -> World:
    if shutil.which("podman") is None:
        pytest.skip("needs podman, the oracle (`make setup` installs it)")
    # Both read it; podman cannot start a container with its own defaults where it may not raise limits.
    shared_world.path("/etc/containers/containers.conf").write_text(
        '[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n[engine]\ncgroup_manager = "cgroupfs"\n',
        encoding="ascii")
    shared_world.run("podling", "load", "-i", str(busybox))
    shared_world.run("podman", "load", "-i", str(busybox))
    # crun gives an id-mapped container's standard input to its root; a device of ours must not be it.
    shared_world.run("sh", "-c", "mknod -m 666 /run/null c 1 3 && mount --bind /run/null /dev/null")
    return shared_world


@pytest.mark.parametrize("options", CASES.values(), ids=CASES.keys())
def test_spec_is_podmans(ready_world: World, options: str) -> None:
    words = options.split()
    network = [] if "--network" in words else ["--network", "none"]
    ours = ready_world.run("podling", "run", "-d", *network, *words, "bb", "sleep", "1000").stdout.strip()
    path = ready_world.path(f"/run/containers/podling/containers/{ours}/config.json")
    our_spec = normal(json.loads(path.read_text(encoding="utf-8")), ours)
    ready_world.run("podling", "rm", "-f", "-t0", ours)
    theirs = ready_world.run("podman", "create", *network, *words, "bb", "sleep", "1000").stdout.strip()
    ready_world.run("podman", "init", theirs)
    path = ready_world.path(f"/var/lib/containers/storage/overlay-containers/{theirs}/userdata/config.json")
    their_spec = normal(json.loads(path.read_text(encoding="utf-8")), theirs)
    ready_world.run("podman", "rm", "-f", "-t0", theirs)
    if "--systemd=always" in words:
        del our_spec["stop signal"], their_spec["stop signal"]       # decided when the container is made
    found = [f"{place}: {ours_} instead of {theirs_}" for place, (ours_, theirs_) in differences(our_spec, their_spec).items()]
    assert not found, "\n".join(found)


def differences(ours: Any, theirs: Any, place: str = "") -> dict[str, tuple[Any, Any]]:
    """Where two documents differ: place -> ours, theirs."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        found = {}
        for key in {**ours, **theirs}:
            found.update(differences(ours.get(key), theirs.get(key), f"{place}/{key}"))
        return found
    return {} if ours == theirs else {place: (ours, theirs)}


def normal(spec: dict[str, Any], container_id: str) -> dict[str, Any]:
    """A specification as facts to compare: without order where order says nothing, without names that each engine chooses."""
    text = json.dumps(spec).replace(container_id, "ID").replace(container_id[:32], "HALF").replace(container_id[:12], "SHORT")
    spec = json.loads(text)
    linux, process = spec["linux"], spec["process"]
    linux["maskedPaths"] = (set(linux.get("maskedPaths", ())) - NO_LONGER_MASKED) | (
        LATER_MASKED if "/sys/firmware" in linux.get("maskedPaths", ()) else set())
    linux["readonlyPaths"] = set(linux.get("readonlyPaths", ()))
    linux["namespaces"] = {space["type"]: _namespace_path(space) for space in linux["namespaces"]}
    linux["devices"] = {device["path"]: {**device, "uid": 0, "gid": 0} for device in linux.get("devices", ())}
    linux.get("resources", {})["devices"] = sorted(
        json.dumps(rule, sort_keys=True) for rule in linux.get("resources", {}).get("devices", ()))
    seccomp = linux.pop("seccomp", None)
    annotations = spec.pop("annotations")
    spec["filtered"] = bool(seccomp or annotations.get("run.oci.seccomp_bpf_data"))
    spec["stop signal"] = annotations["org.opencontainers.image.stopSignal"]
    spec["user annotation"] = annotations.get("a")
    process["env"] = sorted(set(process["env"]) - {"TERM=xterm"})    # Podman 5 gives it to a terminal alone
    process["rlimits"] = {limit["type"]: limit for limit in process.get("rlimits", ())}
    process["capabilities"] = {kind: names for kind, names in process.get("capabilities", {}).items() if names}
    spec["mounts"] = {mount["destination"]: _mount(mount) for mount in spec["mounts"]}
    spec["root"].pop("path")
    spec.pop("ociVersion")
    return spec


def _namespace_path(space: dict[str, str]) -> str:
    """A network or user namespace that is made beforehand has a path, which each engine chooses; the kernel sees no difference."""
    return "" if space["type"] in ("network", "user") else space.get("path", "")


def _mount(mount: dict[str, Any]) -> tuple[str, str, set[str]]:
    source = mount["source"]
    own = mount["destination"] in ("/dev/shm", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/.containerenv",
                                   "/etc/localtime", "/etc/passwd", "/etc/group") and source != "/dev/shm"
    if own or "/volumes/" in source:
        source = "the engine's"
    options = set(mount["options"])
    if mount["destination"] == "/dev":
        options -= {"noexec", "ro"} if mount["type"] == "tmpfs" else set()
    if mount["destination"] == "/dev/shm":
        options -= {"ro"}
    return mount["type"], source, options
