"""Which ids a container gets: decided from what was asked and what the host has."""

from __future__ import annotations

import pytest

from podling.config.containers import ContainersConf
from podling.engine import idmaps
from podling.engine.idmaps import IdFacts
from podling.engine.options import CreateOptions
from podling.engine.resolve import Surroundings, check, resolve
from podling.errors import InvalidArgument, PodlingError, Unsupported
from podling.model import ContainerConfig, ImageConfig, Platform
from podling.values.isolation import Namespace, parse_namespace
from podling.values.mounts import Mount

USERS = ((0, 4242, 1), (1, 100000, 65536))
WHOLE = ((0, 0, 4294967295),)
USER = IdFacts(owner=(4242, 4343), parents=(USERS, USERS), free=(((1, 65536),), ((1, 65536),)))
ROOT = IdFacts(parents=(WHOLE, WHOLE), free=(((1000000, 10000),), ((2000000, 10000),)))
KEPT = (("0:1:4242", "4242:0:1", "4243:4243:61294"), ("0:1:4343", "4343:0:1", "4344:4344:61193"))


def decided(text: str, facts: IdFacts, **options: object) -> idmaps.Decided:
    return idmaps.decide(CreateOptions(image="i", **options), parse_namespace("user", text), facts)


@pytest.mark.parametrize(("text", "facts", "uids", "gids", "user"), [
    ("keep-id", USER, *KEPT, "4242:4343"),
    ("keep-id:uid=5,gid=0", USER, ("0:1:5", "5:0:1", "6:6:65531"), ("0:0:1", "1:1:65536"), "5:0"),
    ("keep-id:uid=5,gid=5,size=9", USER, ("0:1:5", "5:0:1", "6:6:4"), ("0:1:5", "5:0:1", "6:6:4"), "5:5"),
    ("keep-id", ROOT, ("0:0:4294967295",), ("0:0:4294967295",), "0:0"),
    ("keep-id:uid=7", ROOT, ("0:0:4294967295",), ("0:0:4294967295",), "7:0"),
    ("nomap", USER, ("0:1:65536",), ("0:1:65536",), "0:0"),
    ("auto", ROOT, ("0:1000000:1024",), ("0:2000000:1024",), ""),
    ("auto:size=500", ROOT, ("0:1000000:500",), ("0:2000000:500",), ""),
    ("auto:size=10,uidmapping=0:5:1", ROOT, ("0:5:1", "1:1000000:9"), ("0:2000000:10",), ""),
])
def test_modes(text: str, facts: IdFacts, uids: tuple[str, ...], gids: tuple[str, ...], user: str) -> None:
    found = decided(text, facts)
    assert (found.user_ns.mode, found.uid_map, found.gid_map, found.user) == (text.partition(":")[0], uids, gids, user)


def test_auto_takes_what_nobody_has_and_is_as_large_as_the_image_needs() -> None:
    facts = ROOT.replace(used=(((1000000, 1024), (1002048, 100)), ()), accounts=((0, 2000, 65534), (0, 999)))
    found = decided("auto", facts)
    assert (found.uid_map, found.gid_map) == (("0:1002148:2001",), ("0:2000000:2001",))
    with pytest.raises(PodlingError, match="not enough unused IDs in user namespace"):
        decided("auto:size=9000", facts)


@pytest.mark.parametrize(("text", "facts", "words"), [
    ("nomap", ROOT, "nomap is only supported in rootless mode"),
    ("keep-id:size=5", ROOT, "cannot set max size for user namespace when not running rootless"),
    ("auto:size=0", ROOT, "container ID 0 cannot be mapped to a host ID"),
    ("keep-id", USER.replace(parents=(((0, 4242, 1),), ((0, 4242, 1),))), "keep-id needs a subordinate id for the container's root"),
    ("nomap", USER.replace(parents=(((0, 4242, 1),), ((0, 4242, 1),))), "nomap needs subordinate ids"),
])
def test_modes_that_cannot_be(text: str, facts: IdFacts, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        decided(text, facts)


def test_named_ranges_are_the_hosts() -> None:
    named = idmaps.decide(CreateOptions(image="i", subuid_name="x"), Namespace(mode="private"),
                          USER.replace(named=(((100010, 5), (4242, 1)), ((100000, 65536),))))
    assert (named.uid_map, named.gid_map) == (("0:11:5", "5:0:1"), ("0:1:65536",))
    with pytest.raises(InvalidArgument, match="UID 9 of the host is not mapped in this user's namespace"):
        idmaps.decide(CreateOptions(image="i", subuid_name="x"), Namespace(mode="private"), USER.replace(named=(((9, 1),), ((9, 1),))))


def test_a_joined_namespace_brings_its_ids() -> None:
    found = decided("container:web", ROOT.replace(joined=(("0:7:9",), ("0:8:9",)), joined_id="ab" * 32))
    assert (str(found.user_ns), found.uid_map, found.gid_map) == ("container:" + "ab" * 32, ("0:7:9",), ("0:8:9",))
    assert decided("container:web", ROOT).user_ns.mode == "host"


@pytest.mark.parametrize(("options", "environ", "configured", "expected"), [
    ({}, {}, "", None),
    ({}, {"PODMAN_USERNS": "auto"}, "keep-id", "auto"),
    ({}, {}, "keep-id:uid=1", "keep-id:uid=1"),
    ({"user_ns": Namespace(mode="host")}, {"PODMAN_USERNS": "auto"}, "auto", None),
    ({"user_ns": Namespace(mode="nomap")}, {"PODMAN_USERNS": "auto"}, "", "nomap"),
    ({"uid_map": ("0:1:2",)}, {"PODMAN_USERNS": "auto"}, "auto", "private"),
    ({"subuid_name": "x"}, {}, "", "private"),
])
def test_flags_then_the_environment_then_the_configuration(options: dict[str, object], environ: dict[str, str], configured: str,
                                                           expected: str | None) -> None:
    found = idmaps.wanted(CreateOptions(image="i", **options), ContainersConf(userns=configured), environ)
    assert (None if found is None else str(found)) == expected


@pytest.mark.parametrize(("options", "words"), [
    ({"user_ns": Namespace(mode="auto"), "uid_map": ("0:1:2",)},
     "--userns and --uidmap/--gidmap/--subuidname/--subgidname are mutually exclusive"),
    ({"user_ns": Namespace(mode="host"), "subgid_name": "x"},
     "--userns and --uidmap/--gidmap/--subuidname/--subgidname are mutually exclusive"),
    ({"uid_map": ("0:1:2",), "subuid_name": "x"}, "--subuidname and --subgidname cannot be set together with --uidmap and --gidmap"),
])
def test_flags_that_contradict_each_other(options: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        check(CreateOptions(image="i", **options))
    with pytest.raises(InvalidArgument, match="must provide at least one UID or GID mapping"):
        idmaps.wanted(CreateOptions(image="i", user_ns=Namespace(mode="private")), ContainersConf(), {})


def made(options: CreateOptions, facts: IdFacts | None, *, user: str = "", rootless: bool = False) -> ContainerConfig:
    host = Surroundings(id="ab" * 32, name="c", created=1, user_ns=options.user_ns, ids=facts, rootless=rootless)
    return resolve(options, ImageConfig(platform=Platform(os="linux", architecture="amd64"), user=user), ContainersConf(), host)


def test_keep_id_runs_as_the_caller_unless_the_image_or_the_user_says_otherwise() -> None:
    options = CreateOptions(image="i", command=("x",), user_ns=Namespace(mode="keep-id"))
    assert made(options, USER).user == "4242:4343"
    assert made(options, USER, user="web").user == "web"
    assert made(options.replace(user="0"), USER, user="web").user == "0"


def test_idmapped_mounts() -> None:
    def mounted(idmap: str) -> CreateOptions:
        return CreateOptions(image="i", command=("x",), mounts=(Mount(kind="bind", source="/a", destination="/b", idmap=idmap),))

    assert made(mounted("uids=0-1-1"), None).mounts[0].idmap == "uids=0-1-1"
    assert made(mounted("").replace(user_ns=Namespace(mode="auto")), ROOT).uid_map == ("0:1000000:1024",)
    with pytest.raises(InvalidArgument, match="the option idmap of the mount at /b needs a container with ids of its own"):
        made(mounted(""), None)
    with pytest.raises(Unsupported, match="nobody but the host's root"):
        made(mounted("").replace(user_ns=Namespace(mode="auto")), USER, rootless=True)


def test_ids_of_a_container_inside_and_outside() -> None:
    config = made(CreateOptions(image="i", command=("x",), user_ns=Namespace(mode="keep-id")), USER)
    assert idmaps.outside(config, 4242, 4343) == (0, 0)
    assert idmaps.inside(config, 1, 1) == (0, 0)
    assert idmaps.outside(config, 99999, 0) == (99999, 1)
    assert idmaps.to_inside(made(CreateOptions(image="i", command=("x",)), None)) is None
