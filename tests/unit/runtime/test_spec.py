"""The OCI specification: whole documents (golden/), and single rules."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from podling.errors import InvalidArgument
from podling.model import ContainerConfig, ExecConfig, Facts
from podling.runtime import mounts, resources, security
from podling.runtime import spec as specification
from podling.runtime.host import DeviceNode, HostFacts
from podling.values.isolation import Namespace, SecurityOptions
from podling.values.limits import DeviceRate, Resources, Ulimit
from podling.values.mounts import Mount

GOLDEN = Path(__file__).parent / "golden"
ID = "0123456789abcdef" * 4
CONFIG = ContainerConfig(id=ID, name="web", created=1_750_000_000_000_000_000, command=("nginx", "-g", "daemon off;"),
                         env=("PATH=/bin", "TERM=xterm", "container=podman"), capabilities=security.DEFAULT_CAPABILITIES,
                         net_ns=Namespace(mode="none"), cgroup_ns=Namespace(mode="host"), resources=Resources(pids_limit=2048),
                         sysctls={"net.ipv4.ping_group_range": "0 0"})
FACTS = Facts(rootfs="/store/merged", bundle="/run/c", shm="/run/c/shm", home="/root",
              etc_files={"/etc/hosts": "/run/c/hosts", "/etc/hostname": "/run/c/hostname",
                         "/run/.containerenv": "/run/c/.containerenv"})
HOST = HostFacts(cgroup_layout="v2", hostname="machine", rlimits={"nofile": (1024, 4096), "nproc": (100, 200)},
                 seccomp_bpf="AAAA")


def build(config: ContainerConfig = CONFIG, facts: Facts = FACTS, host: HostFacts = HOST) -> dict[str, Any]:
    return specification.spec(config, facts, host)


def mount_at(document: dict[str, Any], destination: str) -> dict[str, Any] | None:
    return next((mount for mount in document["mounts"] if mount["destination"] == destination), None)


GOLDEN_CASES: dict[str, tuple[ContainerConfig, Facts, HostFacts]] = {
    "default": (CONFIG, FACTS, HOST),
    "bridge": (CONFIG.replace(net_ns=Namespace(mode="bridge"), hostname="web1", umask="0077", stop_signal=3),
               FACTS.replace(netns="/run/netns/netns-1", uid=101, gid=102, groups=(102, 500), home="/home/web"), HOST),
    "privileged": (CONFIG.replace(privileged=True, capabilities=("CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_SYS_RESOURCE")), FACTS,
                   HOST.replace(cgroup_layout="v1", capabilities=("CAP_CHOWN", "CAP_SYS_ADMIN"), seccomp_bpf="", devices=(
                       DeviceNode(path="/dev/fuse", kind="c", major=10, minor=229, mode=0o20600),))),
    "read-only": (CONFIG.replace(read_only=True, tz="local", terminal=True), FACTS, HOST),
    "limits": (CONFIG.replace(
        resources=Resources(memory=64 << 20, memory_swap=128 << 20, memory_reservation=32 << 20, memory_swappiness=10, cpu_quota=50000,
                            cpu_period=100000, cpu_shares=512, cpuset_cpus="0-1", pids_limit=50, oom_kill_disable=True,
                            device_read_bps=(DeviceRate(path="/dev/vda", rate=1048576),), unified={"memory.high": "1"}),
        ulimits=(Ulimit(name="nofile", soft=100000, hard=200000), Ulimit(name="core", soft=0, hard=-1)), oom_score_adj=-500),
        FACTS, HOST.replace(may_raise_limits=False, device_numbers={"/dev/vda": (254, 0)})),
    "mounts": (CONFIG.replace(mounts=(
        Mount(kind="bind", source="/srv", destination="/srv", options=("ro",), relabel="z"),
        Mount(kind="bind", source="/data", destination="/data/deep/down", options=("rshared",)),
        Mount(kind="volume", source="vol", destination="/var/lib/vol"),
        Mount(kind="tmpfs", destination="/var/run/x", options=("size=1m", "notmpcopyup", "exec")),
        Mount(kind="image", source="other", destination="/image"),
        Mount(kind="devpts", destination="/dev/pts2"))),
        FACTS.replace(volumes={"vol": "/store/volumes/vol/_data"}, image_mounts={"/image": "/run/c/image"}),
        HOST.replace(mount_flags={"/srv": ("nosuid", "noexec")}, destinations={"/var/run/x": "/run/x"},
                     sources={"/image": "/run/c/image"})),
    "systemd": (CONFIG.replace(systemd="always", stop_signal=37, cgroup_manager="systemd", cgroup_ns=Namespace(mode="private")),
                FACTS, HOST),
    "joined": (CONFIG.replace(pid_ns=Namespace(mode="container", value="x"), ipc_ns=Namespace(mode="host"),
                              uts_ns=Namespace(mode="container", value="x"), net_ns=Namespace(mode="container", value="x")),
               FACTS.replace(shm="", namespaces={"pid": "/proc/7/ns/pid", "uts": "/proc/7/ns/uts", "network": "/proc/7/ns/net"}),
               HOST.replace(joined_hostname="other", seccomp_bpf="", seccomp={"defaultAction": "SCMP_ACT_ERRNO"})),
    "id-map": (CONFIG.replace(uid_map=("0:100000:3",), gid_map=("0:100000:3",), user_ns=Namespace(mode="private")),
               FACTS.replace(groups=(0, 500)), HOST),
}


@pytest.mark.parametrize("name", GOLDEN_CASES)
def test_whole_document(name: str) -> None:
    """UPDATE_GOLDEN=1 writes the documents anew; then their difference is what to look at."""
    config, facts, host = GOLDEN_CASES[name]
    path = GOLDEN / f"{name}.json"
    document = build(config, facts, host)
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        whole = {"config": config.to_json(), "facts": facts.to_json(), "host": host.to_json(), "spec": document}
        path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    kept = json.loads(path.read_text(encoding="utf-8"))
    again = build(ContainerConfig.from_json(kept["config"]), Facts.from_json(kept["facts"]), HostFacts.from_json(kept["host"]))
    assert json.loads(json.dumps(document)) == kept["spec"]
    assert json.loads(json.dumps(again)) == kept["spec"]


def test_building_changes_nothing() -> None:
    before = CONFIG.to_json()
    assert build() == build()
    assert CONFIG.to_json() == before


# --- process ----------------------------------------------------------------------------------------------------------


def test_environment_of_the_user_counts() -> None:
    env = build(CONFIG.replace(env=("HOME=/x", "HOSTNAME=y", "container=other")))["process"]["env"]
    assert env == ["HOME=/x", "HOSTNAME=y", "container=other"]


@pytest.mark.parametrize(("network", "uts", "given", "wanted"), [
    ("none", "private", "", ID[:12]), ("none", "private", "own", "own"), ("host", "private", "", "machine"),
    ("host", "private", "own", "own"), ("none", "host", "own", "machine"), ("none", "container", "own", "joined"),
])
def test_host_name(network: str, uts: str, given: str, wanted: str) -> None:
    config = CONFIG.replace(net_ns=Namespace(mode=network), uts_ns=Namespace(mode=uts), hostname=given)
    host = HOST.replace(joined_hostname="joined")
    assert specification.hostname(config, host) == wanted
    assert ("hostname" in build(config, host=host)) is (uts == "private")


def test_user_without_privileges_has_only_added_capabilities_and_they_are_ambient() -> None:
    config = CONFIG.replace(cap_add=("net_admin", "CHOWN"), capabilities=("CAP_CHOWN", "CAP_NET_ADMIN", "CAP_KILL"))
    sets = build(config, FACTS.replace(uid=7))["process"]["capabilities"]
    own = ["CAP_CHOWN", "CAP_NET_ADMIN"]
    assert sets == {"bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_ADMIN"], "effective": own, "permitted": own,
                    "inheritable": own, "ambient": own}


def test_capabilities_that_the_host_lacks_are_left_out() -> None:
    sets = build(host=HOST.replace(capabilities=("CAP_CHOWN",)))["process"]["capabilities"]
    assert sets["bounding"] == ["CAP_CHOWN"]


def test_rlimits_stay_as_they_are_where_they_can_be_raised() -> None:
    limits = {limit["type"]: (limit["soft"], limit["hard"]) for limit in build()["process"]["rlimits"]}
    assert limits == {"RLIMIT_NOFILE": (1048576, 1048576), "RLIMIT_NPROC": (1048576, 1048576)}


def test_rlimits_are_lowered_where_they_cannot_be_raised() -> None:
    config = CONFIG.replace(ulimits=(Ulimit(name="nofile", soft=-1, hard=-1), Ulimit(name="memlock", soft=-1, hard=-1)))
    host = HOST.replace(may_raise_limits=False, rlimits={"nofile": (1024, 4096), "nproc": (-1, -1), "memlock": (64, -1)})
    limits = {limit["type"]: (limit["soft"], limit["hard"]) for limit in build(config, host=host)["process"]["rlimits"]}
    assert limits == {"RLIMIT_NOFILE": (4096, 4096), "RLIMIT_NPROC": (1048576, 1048576),
                      "RLIMIT_MEMLOCK": ((1 << 64) - 1, (1 << 64) - 1)}


@pytest.mark.parametrize(("wanted", "may", "got"), [(-500, True, -500), (-500, False, 0), (300, False, 300)])
def test_oom_score_is_not_lowered_without_the_right(wanted: int, may: bool, got: int) -> None:
    process = build(CONFIG.replace(oom_score_adj=wanted), host=HOST.replace(may_raise_limits=may))["process"]
    assert process["oomScoreAdj"] == got


def test_init_comes_before_the_command() -> None:
    document = build(CONFIG.replace(init=True, init_path="/usr/bin/catatonit"))
    assert document["process"]["args"][:3] == ["/run/podman-init", "--", "nginx"]
    mount = mount_at(document, "/run/podman-init")
    assert mount is not None
    assert mount["source"] == "/usr/bin/catatonit"


def test_exec_has_the_containers_capabilities_and_its_own_user() -> None:
    session = ExecConfig(id="e", container_id=ID, command=("ls",), env=("A=1",), terminal=True, working_dir="/tmp")
    process = specification.process(session, CONFIG, FACTS, HOST)
    assert (process["args"], process["cwd"], process["terminal"]) == (["ls"], "/tmp", True)
    assert process["capabilities"]["effective"] == sorted(security.DEFAULT_CAPABILITIES)
    assert "HOME=/root" in process["env"]
    everything = specification.process(session.replace(privileged=True), CONFIG, FACTS.replace(uid=5),
                                       HOST.replace(capabilities=("CAP_A", "CAP_B")))
    assert everything["capabilities"]["ambient"] == ["CAP_A", "CAP_B"]


# --- mounts -----------------------------------------------------------------------------------------------------------


def test_mount_of_the_user_takes_the_place_of_a_default() -> None:
    document = build(CONFIG.replace(mounts=(Mount(kind="bind", source="/proc", destination="/proc"),
                                            Mount(kind="bind", source="/h", destination="/etc/hosts"))))
    assert [mount["type"] for mount in document["mounts"] if mount["destination"] == "/proc"] == ["bind"]
    assert [mount["source"] for mount in document["mounts"] if mount["destination"] == "/etc/hosts"] == ["/h"]


def test_own_dev_hides_what_is_below_it() -> None:
    document = build(CONFIG.replace(mounts=(Mount(kind="bind", source="/dev", destination="/dev"),)))
    assert mount_at(document, "/dev/pts") is None
    assert mount_at(document, "/dev/mqueue") is None


def test_outer_mounts_come_before_inner_ones() -> None:
    config = CONFIG.replace(mounts=(Mount(kind="tmpfs", destination="/a/b/c"), Mount(kind="tmpfs", destination="/a"),
                                    Mount(kind="tmpfs", destination="/a/b")))
    order = [mount["destination"] for mount in build(config)["mounts"] if mount["destination"].startswith("/a")]
    assert order == ["/a", "/a/b", "/a/b/c"]


@pytest.mark.parametrize(("options", "wanted"), [
    (("rslave",), "rslave"), (("shared",), "shared"), (("rprivate",), None), ((), None)])
def test_root_is_propagated_as_its_mounts_need(options: tuple[str, ...], wanted: str | None) -> None:
    config = CONFIG.replace(mounts=(Mount(kind="bind", source="/s", destination="/d", options=options),))
    assert build(config)["linux"].get("rootfsPropagation") == wanted


def test_flags_of_the_source_are_kept_unless_the_user_asks_otherwise() -> None:
    host = HOST.replace(mount_flags={"/s": ("nosuid", "nodev", "noexec")})
    config = CONFIG.replace(mounts=(Mount(kind="bind", source="/s", destination="/d", options=("exec", "ro")),))
    mount = mount_at(build(config, host=host), "/d")
    assert mount is not None
    assert mount["options"] == ["exec", "ro", "rprivate", "nosuid", "nodev", "rbind"]


def test_volume_that_is_not_mounted_is_an_error() -> None:
    with pytest.raises(InvalidArgument, match="is not mounted"):
        build(CONFIG.replace(mounts=(Mount(kind="volume", source="v", destination="/d"),)))


@pytest.mark.parametrize(("path", "unmask", "wanted"), [
    ("/proc/foo", ("all",), False), ("/proc/foo", ("ALL",), False), ("/proc/foo", ("/proc/foo",), False),
    ("/proc/foo", ("/proc/*",), False), ("/proc/foo", ("/proc/bar", "all"), False), ("/proc/foo", ("/proc/f*",), False),
    ("/proc/foo", ("/proc/b*",), True), ("/proc/foo", (), True), ("/proc/a/b", ("/proc/*",), True),
    ("/proc/foo", ("/x:/proc/fo?",), False), ("/proc/foo", ("/proc/",), True),
])
def test_unmask_patterns(path: str, unmask: tuple[str, ...], wanted: bool) -> None:
    assert mounts.is_masked(path, unmask) is wanted


def test_cgroup_can_be_written_where_it_is_unmasked_on_v2_only() -> None:
    config = CONFIG.replace(security=SecurityOptions(unmask=("/sys/fs/cgroup",)))
    for layout, mode in (("v2", "rw"), ("v1", "ro")):
        mount = mount_at(build(config, host=HOST.replace(cgroup_layout=layout)), "/sys/fs/cgroup")
        assert mount is not None
        assert mode in mount["options"]


@pytest.mark.parametrize(("command", "systemd", "wanted"), [
    (("/sbin/init",), "true", True), (("/lib/systemd/systemd", "x"), "true", True), (("/sbin/init",), "false", False),
    (("sh",), "always", True), (("sh",), "true", False), (("/my/init",), "true", False)])
def test_systemd_is_recognised(command: tuple[str, ...], systemd: str, wanted: bool) -> None:
    assert mounts.runs_systemd(CONFIG.replace(command=command, systemd=systemd)) is wanted


# --- cgroups, limits, devices -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("changes", "host", "wanted"), [
    ({}, {}, f"/libpod_parent/libpod-{ID}"), ({"cgroup_parent": "/foo/"}, {}, f"/foo/libpod-{ID}"),
    ({"cgroup_manager": "systemd"}, {}, f"machine.slice:libpod:{ID}"),
    ({"cgroup_manager": "systemd", "cgroup_parent": "/a.slice/b.slice"}, {}, f"b.slice:libpod:{ID}"),
    ({"cgroups": "disabled"}, {}, ""), ({"cgroups": "split"}, {"own_cgroup": "/me"}, f"/me/libpod-payload-{ID}"),
    ({}, {"rootless": True}, ""),
])
def test_cgroup_path(changes: dict[str, Any], host: dict[str, Any], wanted: str) -> None:
    assert specification.cgroups_path(CONFIG.replace(**changes), HOST.replace(**host)) == wanted


def test_containers_without_cgroups_have_no_limits() -> None:
    linux = build(CONFIG.replace(cgroups="disabled"))["linux"]
    assert "resources" not in linux
    assert "cgroupsPath" not in linux


def test_unlimited_pids_are_said_by_nothing_at_first_and_by_the_most_later() -> None:
    unlimited = Resources(pids_limit=-1)
    assert resources.resources(unlimited, {}) == {}
    assert resources.resources(unlimited, {}, update=True) == {"pids": {"limit": 4194304}}


@pytest.mark.parametrize(("text", "rule"), [
    ("c 42:* rwm", {"allow": True, "type": "c", "major": 42, "access": "rwm"}),
    ("a *:* r", {"allow": True, "type": "a", "access": "r"}),
    ("b 8:1 rw", {"allow": True, "type": "b", "major": 8, "minor": 1, "access": "rw"})])
def test_device_rules(text: str, rule: dict[str, Any]) -> None:
    assert resources.device_rule(text) == rule


@pytest.mark.parametrize("text", ["", "c 1:2", "x 1:2 r", "c 1 r", "c a:b r", "c 1:2 q", "c 1:2 "])
def test_broken_device_rules(text: str) -> None:
    with pytest.raises(InvalidArgument):
        resources.device_rule(text)


def test_ordinary_users_get_devices_as_mounts() -> None:
    node = DeviceNode(path="/dev/fuse", kind="c", major=10, minor=229, host_path="/dev/fuse", access="r")
    document = build(host=HOST.replace(rootless=True, devices=(node,)))
    assert "devices" not in document["linux"]
    mount = mount_at(document, "/dev/fuse")
    assert mount is not None
    assert "ro" in mount["options"]


def test_filter_is_given_as_a_program_or_as_a_profile() -> None:
    assert "seccomp" not in build()["linux"]
    assert build()["annotations"]["run.oci.seccomp_bpf_data"] == "AAAA"
    plain = build(host=HOST.replace(seccomp_bpf="", seccomp={"defaultAction": "x"}))
    assert plain["linux"]["seccomp"] == {"defaultAction": "x"}
    assert "run.oci.seccomp_bpf_data" not in plain["annotations"]
