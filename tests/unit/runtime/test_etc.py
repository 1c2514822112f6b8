"""Files in /etc of a container: hosts, resolv.conf, accounts, time zone, who it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from podling.errors import InvalidArgument
from podling.model import ContainerConfig, Facts, NetworkStatus
from podling.runtime import etc, hosts, resolv, users
from podling.runtime.resolv import ResolvConf
from podling.values.isolation import Namespace
from podling.values.mounts import Mount

if TYPE_CHECKING:
    from pathlib import Path

ID = "ab" * 32
CONFIG = ContainerConfig(id=ID, name="web", created=1, command=("x",))
HOST = ResolvConf(servers=("1.1.1.1",), search=("example.com",), options=("edns0",))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    (path / "etc").mkdir(parents=True)
    (path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nweb:x:101:102:web:/home/web:/bin/sh\n")
    (path / "etc/group").write_text("root:x:0:\nweb:x:102:\nextra:x:500:web,root\n")
    return path


# --- hosts ------------------------------------------------------------------------------------------------------------


def test_hosts_has_the_users_words_first() -> None:
    own = [hosts.Entry(address="10.88.0.2", names=("id", "web"))]
    text = hosts.hosts_text("127.0.0.1 localhost # here\n\n# comment\n10.0.0.1 other\n", ["web:1.2.3.4"], own, "10.88.0.1")
    assert text == ("1.2.3.4\tweb\n127.0.0.1\tlocalhost\n10.0.0.1\tother\n"
                    "10.88.0.1\thost.containers.internal host.docker.internal\n10.88.0.2\tid\n")


def test_hosts_without_a_base() -> None:
    assert hosts.hosts_text("", [], [], "") == "127.0.0.1\tlocalhost\n::1\tlocalhost\n"


@pytest.mark.parametrize(("line", "address", "names"), [
    ("a:1.2.3.4", "1.2.3.4", ("a",)), ("a;b:1.2.3.4", "1.2.3.4", ("a", "b")), ("a:::1", "::1", ("a",)),
    ("a:host-gateway", "10.0.0.1", ("a",))])
def test_added_hosts(line: str, address: str, names: tuple[str, ...]) -> None:
    assert hosts.extra_hosts([line], "10.0.0.1") == [hosts.Entry(address=address, names=names)]


@pytest.mark.parametrize("line", ["a", ":1.2.3.4", "a:"])
def test_broken_added_hosts(line: str) -> None:
    with pytest.raises(InvalidArgument):
        hosts.extra_hosts([line], "")
    with pytest.raises(InvalidArgument, match="host-gateway"):
        hosts.extra_hosts(["a:host-gateway"], "")


# --- resolv.conf ------------------------------------------------------------------------------------------------------


def test_resolv_conf_is_read_as_the_c_library_does() -> None:
    found = resolv.parse("# x\nnameserver 1.1.1.1\n nameserver  2.2.2.2 # y\nsearch a\nsearch b c\noptions ndots:2\nnameserver\n")
    assert found == ResolvConf(servers=("1.1.1.1", "2.2.2.2"), search=("b", "c"), options=("ndots:2",))


@pytest.mark.parametrize(("wanted", "keep", "merged"), [
    (ResolvConf(), True, HOST),
    (ResolvConf(servers=("9.9.9.9",)), False, HOST.replace(servers=("9.9.9.9",))),
    (ResolvConf(servers=("10.88.0.1",), search=("dns.podman",)), True,
     HOST.replace(servers=("10.88.0.1", "1.1.1.1"), search=("dns.podman", "example.com"))),
    (ResolvConf(search=(".",)), True, HOST.replace(search=())),
    (ResolvConf(options=("ndots:2",)), False, HOST.replace(options=("ndots:2",)))])
def test_resolv_conf_is_completed_by_the_hosts(wanted: ResolvConf, keep: bool, merged: ResolvConf) -> None:
    assert resolv.merge(wanted, HOST, keep_host=keep) == merged


@pytest.mark.parametrize(("servers", "ipv6", "left"), [
    (("127.0.0.1", "::1"), False, ("8.8.8.8", "8.8.4.4")),
    (("1.1.1.1", "fd::1", "127.0.0.53"), False, ("1.1.1.1",)), (("1.1.1.1", "fd::1"), True, ("1.1.1.1", "fd::1")),
    ((), True, ("8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844"))])
def test_servers_that_cannot_be_reached_are_left_out(servers: tuple[str, ...], ipv6: bool, left: tuple[str, ...]) -> None:
    assert resolv.reachable(ResolvConf(servers=servers), ipv6=ipv6).servers == left


def test_host_network_keeps_local_servers(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 127.0.0.2\n")
    text = resolv.resolv_conf(config=CONFIG, statuses=(), host_network=True, ipv6=False, host_file=str(file))
    assert text == "nameserver 127.0.0.2\n"
    text = resolv.resolv_conf(config=CONFIG, statuses=(NetworkStatus(dns_servers=("10.88.0.1",), dns_search=("dns.podman",)),),
                              host_network=False, ipv6=False, host_file=str(file))
    assert text == "search dns.podman\nnameserver 10.88.0.1\nnameserver 8.8.8.8\nnameserver 8.8.4.4\n"


# --- accounts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "added", "wanted"), [
    ("", (), (0, 0, (500,), "/root")), ("root", (), (0, 0, (0, 500), "/root")), ("web", (), (101, 102, (102, 500), "/home/web")),
    ("101", (), (101, 102, (102, 500), "/home/web")), ("web:root", (), (101, 0, (0,), "/home/web")),
    ("1234:5678", ("77",), (1234, 5678, (5678, 77), "")), ("1234", (), (1234, 0, (0,), "")),
    ("web", ("extra", "keep-groups"), (101, 102, (102, 500), "/home/web"))])
def test_users_are_found(root: Path, text: str, added: tuple[str, ...], wanted: tuple[int, int, tuple[int, ...], str]) -> None:
    user = users.lookup(users.Accounts(str(root)), text, added)
    assert (user.uid, user.gid, user.groups, user.home) == wanted


@pytest.mark.parametrize(("text", "added", "message"), [
    ("nobody", (), "unable to find user nobody: no matching entries in passwd file"),
    ("web:none", (), "unable to find group none: no matching entries in group file"),
    ("web", ("none",), "Unable to find group none"), ("2147483648", (), "in range 0-2147483647"),
    ("-1", (), "unable to find user -1")])
def test_users_that_are_not_there(root: Path, text: str, added: tuple[str, ...], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        users.lookup(users.Accounts(str(root)), text, added)


def test_line_without_numbers_is_nobody(root: Path) -> None:
    (root / "etc/passwd").write_text("evil:x:::\nevil2\nbad:x:-1:0::\n")
    for name in ("evil", "evil2", "bad"):
        with pytest.raises(InvalidArgument, match="unable to find user"):
            users.lookup(users.Accounts(str(root)), name)


def test_links_of_a_hostile_image_stay_inside(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("spy:x:7:7::/:\n")
    (root / "etc/passwd").unlink()
    for target in ("../../secret", str(tmp_path / "secret"), "/proc/self/root" + str(tmp_path / "secret"), "passwd"):
        (root / "etc/passwd").symlink_to(target)
        with pytest.raises(InvalidArgument, match="unable to find user spy"):
            users.lookup(users.Accounts(str(root)), "spy")
        (root / "etc/passwd").unlink()
    os.mkfifo(root / "etc/passwd")
    with pytest.raises(Exception, match="not a regular file"):
        users.lookup(users.Accounts(str(root)), "spy")


def test_file_that_the_user_mounts_over_the_images_is_read(root: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("me:x:9:9::/me:/bin/sh\n")
    config = CONFIG.replace(mounts=(Mount(kind="bind", source=str(tmp_path / "mine"), destination="/etc/passwd"),))
    assert users.lookup(users.accounts(config, Facts(rootfs=str(root))), "me").uid == 9


def write(root: Path, tmp_path: Path, config: ContainerConfig, **facts: object) -> dict[str, str]:
    run = tmp_path / "run"
    run.mkdir(exist_ok=True)
    settings = etc.EtcSettings(base_hosts="none", host_internal="none", engine="podling-1")
    return etc.write_files(config, Facts(rootfs=str(root)).replace(**facts), str(run), settings, hostname="host")


def test_number_without_an_entry_gets_one_in_the_containers_own_files(root: Path, tmp_path: Path) -> None:
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh")
    config = CONFIG.replace(user="1234:5678", working_dir="/work")
    for _ in range(2):
        found = write(root, tmp_path, config)
        assert "/etc/passwd" not in found
        assert (root / "etc/passwd").read_text().splitlines()[1:] == ["1234:*:1234:5678:container user:/work:/bin/sh"]
        assert (root / "etc/group").read_text().splitlines()[3:] == ["5678:x:5678:1234"]


def test_entries_of_a_read_only_container_are_mounted(root: Path, tmp_path: Path) -> None:
    before = (root / "etc/passwd").read_text()
    found = write(root, tmp_path, CONFIG.replace(user="1234", read_only=True, passwd_entry="$USERNAME:x:$UID:$GID:$NAME:$HOME:/sh"))
    assert (root / "etc/passwd").read_text() == before
    with open(found["/etc/passwd"], encoding="utf-8") as file:
        assert file.read() == before + "1234:x:1234:0:container user:/:/sh\n"


def test_known_users_add_nothing(root: Path, tmp_path: Path) -> None:
    before = (root / "etc/passwd").read_text()
    for user in ("web", "101", "root", ""):
        write(root, tmp_path, CONFIG.replace(user=user))
    write(root, tmp_path, CONFIG.replace(user="999", passwd=False))
    assert (root / "etc/passwd").read_text() == before


def test_files_by_network(root: Path, tmp_path: Path) -> None:
    status = NetworkStatus(addresses=("10.88.0.5/16",), gateways=("10.88.0.1",))
    found = write(root, tmp_path, CONFIG.replace(net_ns=Namespace(mode="bridge")), network={"podman": status})
    with open(found["/etc/hosts"], encoding="utf-8") as file:
        assert file.read() == "127.0.0.1\tlocalhost\n::1\tlocalhost\n10.88.0.5\thost web\n"
    with open(found["/etc/hostname"], encoding="utf-8") as file:
        assert file.read() == "host\n"
    assert "/etc/resolv.conf" not in write(root, tmp_path, CONFIG.replace(net_ns=Namespace(mode="none")))
    kept = write(root, tmp_path, CONFIG.replace(net_ns=Namespace(mode="host"), manage_hosts=False, manage_resolv_conf=False,
                                                manage_hostname=False))
    assert set(kept) == {"/run/.containerenv"}


def test_only_privileged_containers_are_told_who_they_are() -> None:
    settings = etc.EtcSettings(engine="podling-1", graphroot="/store/x")
    assert etc.containerenv(CONFIG, settings) == ""
    told = etc.containerenv(CONFIG.replace(privileged=True, image_name='a"b'), settings)
    assert f'engine="podling-1"\nname="web"\nid="{ID}"\nimage="a\\"b"' in told
    mounted = CONFIG.replace(mounts=(Mount(kind="bind", source="/store", destination="/s"),))
    assert etc.containerenv(mounted, settings) == "graphRootMounted=1"


@pytest.mark.parametrize("zone", ["../../etc/passwd", "/etc/passwd", "Nowhere/City", "America"])
def test_zones_that_are_none(root: Path, tmp_path: Path, zone: str) -> None:
    with pytest.raises(InvalidArgument, match="unknown time zone"):
        write(root, tmp_path, CONFIG.replace(tz=zone))


def test_working_directory(root: Path) -> None:
    facts = Facts(rootfs=str(root), uid=os.getuid(), gid=os.getgid())
    etc.make_working_directory(CONFIG.replace(working_dir="/new/deep"), facts)
    assert (root / "new/deep").is_dir()
    with pytest.raises(InvalidArgument, match='workdir "/missing" does not exist'):
        etc.make_working_directory(CONFIG.replace(working_dir="/missing", create_working_dir=False), facts)
    with pytest.raises(InvalidArgument, match="is not a directory"):
        etc.make_working_directory(CONFIG.replace(working_dir="/etc/passwd"), facts)
    mounted = CONFIG.replace(working_dir="/vol/x", create_working_dir=False, mounts=(Mount(kind="bind", source="/", destination="/vol"),))
    etc.make_working_directory(mounted, facts)


def test_mtab_is_made_with_an_etc_where_there_is_none(root: Path, tmp_path: Path) -> None:
    etc.prepare_root(str(root), CONFIG)
    etc.prepare_root(str(root), CONFIG)
    assert os.readlink(root / "etc/mtab") == "/proc/mounts"
    (tmp_path / "empty").mkdir()
    etc.prepare_root(str(tmp_path / "empty"), CONFIG)
    assert os.readlink(tmp_path / "empty/etc/mtab") == "/proc/mounts"
    (tmp_path / "file").mkdir()
    (tmp_path / "file/etc").write_text("no directory", encoding="ascii")
    etc.prepare_root(str(tmp_path / "file"), CONFIG)
