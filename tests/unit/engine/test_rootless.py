"""What is decided for an ordinary user's containers, and where the user's store is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from podling.config import storage
from podling.config.containers import ContainersConf
from podling.config.storage import StorageConf
from podling.engine.engine import _paths
from podling.engine.globals import GlobalOptions
from podling.engine.options import CreateOptions
from podling.engine.permissions import strange_mount
from podling.engine.resolve import Surroundings, resolve
from podling.errors import InvalidArgument, Unsupported
from podling.linux.rootless import Owner
from podling.model import ContainerConfig, Facts, ImageConfig, Platform
from podling.values.isolation import Namespace, NetworkAttachment
from podling.values.limits import Resources
from podling.values.mounts import Mount

if TYPE_CHECKING:
    from pathlib import Path

ID = "a" * 64


def decided(conf: ContainersConf | None = None, *, no_limits: str = "", **options: object) -> ContainerConfig:
    host = Surroundings(id=ID, name="c", created=1, rootless=True, no_limits=no_limits)
    image = ImageConfig(platform=Platform(os="linux", architecture="amd64"))
    return resolve(CreateOptions(image="i", command=("x",), **options), image, conf or ContainersConf(), host)  # type: ignore[arg-type]


@pytest.mark.parametrize(("conf", "options", "mode"), [
    ({}, {}, "slirp4netns"), ({"default_rootless_network_cmd": "pasta"}, {}, "pasta"),
    ({"default_rootless_network_cmd": "pasta"}, {"net_ns": Namespace(mode="slirp4netns")}, "slirp4netns"),
    ({}, {"networks": (NetworkAttachment(network="n"),)}, "bridge"), ({}, {"net_ns": Namespace(mode="bridge")}, "bridge"),
    ({"netns": "host"}, {}, "host"), ({}, {"net_ns": Namespace(mode="none")}, "none"),
])
def test_network_mode(conf: dict[str, str], options: dict[str, object], mode: str) -> None:
    assert decided(ContainersConf(**conf), **options).net_ns.mode == mode  # type: ignore[arg-type]


@pytest.mark.parametrize("resources", [Resources(memory=1 << 26), Resources(pids_limit=5), Resources(cpuset_cpus="0"),
                                       Resources(cpu_shares=2)])
@pytest.mark.parametrize(("why", "message"), [("v1", "not supported on cgroups V1"), ("cgroupfs", "need a cgroup that is the user's own")])
def test_limits_are_refused_not_ignored(resources: Resources, why: str, message: str) -> None:
    with pytest.raises(Unsupported, match=message):
        decided(no_limits=why, resources=resources)


def test_no_limits_are_no_limits() -> None:
    for resources in (Resources(), Resources(pids_limit=-1), Resources(pids_limit=0), Resources(memory_swap=-1)):
        assert decided(no_limits="v1", resources=resources).resources == Resources()
    assert decided().resources.pids_limit == 2048


@pytest.mark.parametrize(("conf", "options", "graphroot", "runroot"), [
    ({}, {}, "/home/t/.local/share/containers/podling", "{run}/containers/podling"),
    ({"graphroot": "/home/t/.local/share/containers/storage", "runroot": "{run}/containers"}, {},
     "/home/t/.local/share/containers/podling", "{run}/containers/podling"),
    ({"graphroot": "/big/t"}, {}, "/big/t/podling", "{run}/containers/podling"),
    ({}, {"root": "/r", "runroot": "/s"}, "/r", "/s"),
])
def test_roots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, conf: dict[str, str], options: dict[str, str], graphroot: str,
               runroot: str) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    filled = {name: text.format(run=tmp_path) for name, text in conf.items()}
    who = Owner(uid=os.geteuid(), gid=os.getegid(), name="t", home="/home/t")
    found = _paths(GlobalOptions(**options), StorageConf(**filled), who)  # type: ignore[arg-type]
    assert (found.graphroot, found.runroot) == (graphroot, runroot.format(run=tmp_path))


def test_options_of_the_store_override_the_files() -> None:
    found = storage.with_options(StorageConf(driver="overlay", additional_image_stores=("/a",)), "vfs",
                                 ["additionalimagestore=/b", "overlay.mountopt=nodev"])
    assert (found.driver, found.additional_image_stores, found.mount_options) == ("vfs", ("/a", "/b"), "nodev")
    with pytest.raises(InvalidArgument, match=r"'overlay\.colour=red' is not known"):
        storage.with_options(StorageConf(), None, ["overlay.colour=red"])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, whose files are those of the calling user in a user namespace")
def test_directory_that_only_the_caller_may_write(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    config = decided(mounts=(Mount(kind="bind", source=str(tmp_path), destination="/d"),))
    facts = Facts(rootfs="/", uid=5, gid=6)
    assert strange_mount(config, facts) == (f"the container's user 5:6 cannot write to {tmp_path}, which is yours: "
                                            "--userns=keep-id:uid=5,gid=6 lets it act as you")
    assert strange_mount(config, facts.replace(uid=0)) == ""
    kept = config.replace(user_ns=Namespace(mode="keep-id"), uid_map=("0:1:5", "5:0:1"), gid_map=("0:1:6", "6:0:1"))
    assert strange_mount(kept, facts) == ""
    assert "keep-id:uid=4,gid=6" in strange_mount(kept, facts.replace(uid=4))
    os.chown(tmp_path, 0, 6)
    tmp_path.chmod(0o775)
    assert strange_mount(config, facts) == ""


def test_limit_without_its_controller_is_refused_with_the_setting() -> None:
    def made(*delegated: str, **resources: object) -> Resources:
        host = Surroundings(id=ID, name="c", created=1, rootless=True, delegated=delegated)
        options = CreateOptions(image="i", command=("x",), resources=Resources(**resources))
        return resolve(options, ImageConfig(platform=Platform(os="linux", architecture="amd64")), ContainersConf(), host).resources

    assert made("cpu", "memory", "pids", memory=1 << 26, cpu_quota=5, pids_limit=7).memory == 1 << 26
    assert made("memory", memory=1 << 26).pids_limit is None
    for controller, limit in (("cpuset", {"cpuset_cpus": "0"}), ("cpu", {"cpu_shares": 2}), ("io", {"blkio_weight": 10}),
                              ("memory", {"kernel_memory": 1 << 26}), ("pids", {"pids_limit": 9})):
        others = {"cpu", "cpuset", "io", "memory", "pids"} - {controller}
        with pytest.raises(Unsupported, match=f"controller {controller} is not delegated") as caught:
            made(*others, **limit)
        assert "[Service]\\nDelegate=cpu cpuset io memory pids" in (caught.value.hint or "")
