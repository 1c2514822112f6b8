"""Namespaces, networks and security options; the messages are what Podman answered to the same texts."""

from __future__ import annotations

import pytest

from podling.errors import InvalidArgument
from podling.values.isolation import (
    KINDS,
    Namespace,
    NetworkAttachment,
    SecurityOptions,
    parse_namespace,
    parse_network,
    parse_security_opts,
)

NOT_IN_A_POD = "cannot use pod namespace as container is not joining a pod or pod has no infra container: invalid argument"


@pytest.mark.parametrize(("kind", "text", "mode", "value"), [
    ("pid", "host", "host", ""), ("pid", "private", "private", ""), ("pid", "", "private", ""),
    ("pid", "container:web", "container", "web"),
    ("uts", "ns:/proc/1/ns/uts", "ns", "/proc/1/ns/uts"), ("ipc", "shareable", "shareable", ""), ("ipc", "", "shareable", ""),
    ("ipc", "none", "none", ""), ("ipc", "container:a:b", "container", "a:b"), ("cgroup", "host", "host", ""),
    ("user", "", "host", ""),
    ("user", "auto", "auto", ""), ("user", "keep-id:uid=1,gid=2,size=9", "keep-id", "uid=1,gid=2,size=9"),
    ("user", "nomap", "nomap", ""),
    ("user", "auto:size=10,uidmapping=0:1:2", "auto", "size=10,uidmapping=0:1:2"), ("user", "host", "host", ""),
])
def test_namespaces_are_read(kind, text, mode, value):
    assert kind in KINDS
    found = parse_namespace(kind, text)
    assert found == Namespace(mode=mode, value=value)
    assert parse_namespace(kind, str(found)) == found


@pytest.mark.parametrize(("kind", "text", "message"), [
    ("pid", "foo", "unrecognized namespace mode foo passed"), ("pid", "none", "unrecognized namespace mode none passed"),
    ("uts", "shareable", "unrecognized namespace mode shareable passed"),
    ("user", "foo", "unrecognized namespace mode foo passed"),
    ("pid", "container", "unrecognized namespace mode container passed"), ("pid", "pod", NOT_IN_A_POD),
    ("pid", "container:", "invalid config provided: namespace mode container requires a value"),
    ("pid", "ns:", "invalid config provided: namespace mode path requires a value"),
    ("user", "keep-id:foo", 'invalid option specified: "foo"'), ("user", "keep-id:x=1", 'unknown option specified: "x"'),
    ("user", "auto:size=x", 'strconv.ParseUint: parsing "x": invalid syntax'),
    ("user", "keep-id:", 'invalid option specified: ""'),
    ("user", "auto:uidmapping=1:2", 'initializing ID mappings: 1:2 setting is malformed expected ["uint32:uint32:uint32"]'),
])
def test_malformed_namespaces_are_refused(kind, text, message):
    with pytest.raises(InvalidArgument) as failure:
        parse_namespace(kind, text)
    assert failure.value.message == message


def attachment(network, **fields):
    return NetworkAttachment(network=network, **fields)


@pytest.mark.parametrize(("texts", "mode", "networks"), [
    ([], Namespace(mode="private"), ()),
    (["default"], Namespace(mode="private"), ()),
    (["host"], Namespace(mode="host"), ()),
    (["none"], Namespace(mode="none"), ()),
    (["container:web"], Namespace(mode="container", value="web"), ()),
    (["ns:/x"], Namespace(mode="ns", value="/x"), ()),
    (["slirp4netns:mtu=1400,cidr=10.0.2.0/24"], Namespace(mode="slirp4netns", value="mtu=1400,cidr=10.0.2.0/24"), ()),
    (["pasta:-t,8080"], Namespace(mode="pasta", value="-t,8080"), ()),
    (["bridge"], Namespace(mode="bridge"), ()),
    (["bridge:"], Namespace(mode="bridge"), ()),
    (["a"], Namespace(mode="bridge"), (attachment("a"),)),
    (["a,b,a"], Namespace(mode="bridge"), (attachment("a"), attachment("b"))),
    (["bridge:ip=10.88.0.9,mac=92:D0:c6:0a:29:33,alias=x,alias=y,interface_name=eth7"], Namespace(mode="bridge"),
     (attachment("", static_ips=("10.88.0.9",), static_mac="92:d0:c6:0a:29:33", aliases=("x", "y"), interface="eth7"),)),
    (["a:ip=1.2.3.4,ip6=::1", "b:alias=q"], Namespace(mode="bridge"),
     (attachment("a", static_ips=("1.2.3.4", "::1")), attachment("b", aliases=("q",)))),
    (["a:host_interface_name=x"], Namespace(mode="bridge"), (attachment("a", options={"host_interface_name": "x"}),)),
    (["bridge", "podman"], Namespace(mode="bridge"), (attachment(""), attachment("podman"))),
])
def test_networks_are_read(texts, mode, networks):
    assert parse_network(texts) == (mode, networks)
    if networks:
        assert parse_network([str(network) for network in networks]) == (mode, networks)


def test_a_single_network_may_be_given_as_text():
    assert parse_network("host") == parse_network(["host"])


@pytest.mark.parametrize(("texts", "message"), [
    (["foo:ip=x"], 'invalid option for network foo: invalid ip address "x"'),
    (["bridge:ip=x"], 'invalid ip address "x"'),
    (["bridge:mac=x"], "address x: invalid MAC address"),
    (["bridge:alias="], "alias cannot be empty"),
    (["bridge:interface_name="], "interface_name cannot be empty"),
    ([":x"], "network name cannot be empty"),
    (["a,"], "network name cannot be empty"),
    (["host", "foo"], "cannot set multiple networks without bridge network mode, selected mode host: invalid argument"),
    (["bridge", "host"], "can only set extra network names, selected mode host conflicts with bridge: invalid argument"),
    (["bridge", "bridge"], "can only set extra network names, selected mode bridge conflicts with bridge: invalid argument"),
    (["a", ":x"], "network name cannot be empty: invalid argument"),
    (["container:"], "invalid config provided: namespace mode container requires a value"),
    (["ns:"], "invalid config provided: namespace mode path requires a value"),
    (["pod"], NOT_IN_A_POD),
])
def test_malformed_networks_are_refused(texts, message):
    with pytest.raises(InvalidArgument) as failure:
        parse_network(texts)
    assert failure.value.message == message


def test_security_options_add_up():
    assert parse_security_opts([
        "seccomp=unconfined", "apparmor=web", "label=disable", "label=type:spc_t", "label=level:s0", "no-new-privileges",
        "mask=/a:/b", "mask=/c", "unmask=/proc/*:/d", "proc-opts=hidepid=2,subset=pid",
    ]) == SecurityOptions(
        seccomp="unconfined", apparmor="web", label_disable=True, label_options=("type:spc_t",
        "level:s0"), no_new_privileges=True,
        mask=("/a", "/b", "/c"), unmask=("/proc/*", "/d"), proc_options=("hidepid=2", "subset=pid"))
    assert parse_security_opts([]) == SecurityOptions()


def test_dockers_colon_is_understood():
    assert parse_security_opts(["seccomp:unconfined", "no-new-privileges:true"]) == SecurityOptions(
        seccomp="unconfined", no_new_privileges=True)
    assert parse_security_opts(["no-new-privileges", "no-new-privileges=false"]) == SecurityOptions()


def test_unmasking_everything_is_said_once():
    assert parse_security_opts(["unmask=/a", "unmask=all"]).unmask == ("ALL",)
    assert parse_security_opts(["systempaths=unconfined", "unmask=/a"]).unmask == ("ALL",)


@pytest.mark.parametrize(("text", "message"), [
    ("x", 'invalid --security-opt 1: "x"'), ("label", 'invalid --security-opt 1: "label"'),
    ("x=y", 'invalid --security-opt 2: "x=y"'),
    ("systempaths=x", 'invalid systempaths option "x", only `unconfined` is supported'),
    ("no-new-privileges=x", 'invalid --security-opt 2: "no-new-privileges=x"'),
])
def test_malformed_security_options_are_refused(text, message):
    with pytest.raises(InvalidArgument) as failure:
        parse_security_opts([text])
    assert failure.value.message == message
