"""Profiles resolved for capabilities, architecture and kernel. Golden files were made by Podman 4.3.1 with crun 1.8.1."""

from __future__ import annotations

import json
import pathlib

import pytest

from podling.errors import InvalidArgument
from podling.linux import seccomp
from podling.linux.seccomp import resolve

GOLDEN = pathlib.Path(__file__).parent / "golden"
DEFAULT_CAPS = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETFCAP",
                "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT"]
OTHER_CAPS = [*DEFAULT_CAPS[1:], "CAP_SYS_ADMIN", "CAP_AUDIT_WRITE"]


def profile(**fields):
    return {"defaultAction": "SCMP_ACT_ERRNO", **fields}


def rule(*names, **fields):
    return {"names": list(names), "action": "SCMP_ACT_ALLOW", **fields}


def names(resolved):
    return [name for call in resolved.get("syscalls", ()) for name in call["names"]]


@pytest.mark.parametrize(("golden", "capabilities"), [("default", DEFAULT_CAPS), ("other", OTHER_CAPS)])
def test_the_default_profile_is_resolved_as_podman_does(golden, capabilities):
    distributed = json.loads((GOLDEN / "seccomp-profile.json").read_text())
    expected = json.loads((GOLDEN / f"seccomp-{golden}.json").read_text())
    assert json.dumps(resolve(distributed, capabilities, machine="x86_64")) == json.dumps(expected)


@pytest.mark.parametrize(("golden", "capabilities"), [("default", DEFAULT_CAPS), ("other", OTHER_CAPS)])
def test_the_program_is_crun_s_byte_for_byte(golden, capabilities):
    if seccomp.compile(profile()) is None:
        pytest.skip("needs libseccomp.so.2 (package libseccomp2)")
    resolved = json.loads((GOLDEN / f"seccomp-{golden}.json").read_text())
    program = seccomp.compile(resolved)
    if program != (GOLDEN / f"seccomp-{golden}.bpf").read_bytes():
        # another version of libseccomp orders or knows other calls: then at least it must be of that kind
        assert program is not None
        assert len(program) % 8 == 0
        assert 5000 < len(program) < 20000


def test_capabilities_decide():
    p = profile(syscalls=[rule("a", includes={"caps": ["CAP_X", "CAP_Y"]}), rule("b", excludes={"caps": ["CAP_X", "CAP_Z"]})])
    assert names(resolve(p, ["CAP_X", "CAP_Y"])) == ["a"]
    assert names(resolve(p, ["CAP_Y"])) == ["b"]


def test_the_architecture_decides():
    p = profile(syscalls=[rule("a", includes={"arches": ["amd64"]}), rule("b", excludes={"arches": ["amd64"]})],
                archMap=[{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
                         {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": None}])
    assert names(resolve(p, (), machine="x86_64")) == ["a"]
    assert names(resolve(p, (), machine="aarch64")) == ["b"]
    assert resolve(p, (), machine="x86_64")["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert resolve(p, (), machine="aarch64")["architectures"] == ["SCMP_ARCH_AARCH64"]
    assert "architectures" not in resolve(p, (), machine="unheard-of")


@pytest.mark.parametrize(("kernel", "expected"), [("4.8.0-1-amd64", "new"), ("4.7.9", "old"), ("5.0", "new"), ("10.1", "new")])
def test_the_kernel_decides(kernel, expected):
    p = profile(syscalls=[rule("new", includes={"minKernel": "4.8"}), rule("old", excludes={"minKernel": "4.8"})])
    assert names(resolve(p, (), kernel=kernel)) == [expected]


def test_error_numbers_by_name_and_number():
    calls = [rule("a", action="SCMP_ACT_ERRNO", errno="EPERM", errnoRet=38), rule("b", action="SCMP_ACT_ERRNO", errno="22"),
             rule("c", action="SCMP_ACT_ERRNO", errnoRet=0), rule("d")]
    p = profile(defaultErrno="ENOSYS", defaultErrnoRet=1, syscalls=calls)
    resolved = resolve(p, ())
    assert resolved["defaultErrnoRet"] == 38
    assert [call.get("errnoRet") for call in resolved["syscalls"]] == [1, 22, 0, None]


def test_arguments_and_old_single_names():
    p = profile(syscalls=[{"name": "personality", "action": "SCMP_ACT_ALLOW",
                           "args": [{"index": 0, "value": 8, "valueTwo": 0, "op": "SCMP_CMP_EQ"},
                                    {"index": 1, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]}])
    assert resolve(p, ())["syscalls"] == [{"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [
        {"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]}]


@pytest.mark.parametrize(("bad", "words"), [
    (profile(architectures=["SCMP_ARCH_X86"], archMap=[{"architecture": "SCMP_ARCH_X86_64"}]), "'architectures' and 'archMap'"),
    (profile(syscalls=[{"name": "a", "names": ["b"], "action": "SCMP_ACT_ALLOW"}]), "'name' and 'names'"),
    (profile(defaultErrno="ENONSENSE"), "unknown errno ENONSENSE"),
    ([], "not a JSON object"),
])
def test_contradictions_are_refused(bad, words):
    with pytest.raises(InvalidArgument, match=words):
        resolve(bad, ())


@pytest.mark.parametrize("bad", [
    {"defaultAction": "SCMP_ACT_NONSENSE"},
    {"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1},
    {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_NONSENSE"]},
    {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_LOG", "errnoRet": 1}]},
    profile(syscalls=[rule("mkdir", args=[{"index": 6, "op": "SCMP_CMP_EQ"}])]),
    profile(syscalls=[rule("mkdir", args=[{"index": 0, "op": "=="}])]),
])
def test_what_no_runtime_takes_is_not_compiled(bad):
    if seccomp.compile(profile()) is None:
        pytest.skip("needs libseccomp.so.2 (package libseccomp2)")
    with pytest.raises(InvalidArgument):
        seccomp.compile(bad)


def test_unknown_calls_are_left_out():
    if seccomp.compile(profile()) is None:
        pytest.skip("needs libseccomp.so.2 (package libseccomp2)")
    known = profile(syscalls=[rule("mkdir")])
    assert seccomp.compile(profile(syscalls=[rule("no_such_call", "mkdir")])) == seccomp.compile(known)


def test_conditions_on_one_argument_are_alternatives():
    if seccomp.compile(profile()) is None:
        pytest.skip("needs libseccomp.so.2 (package libseccomp2)")
    one = {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}
    two = {**one, "value": 2}
    assert seccomp.compile(profile(syscalls=[rule("socket", args=[one, two])])) == seccomp.compile(
        profile(syscalls=[rule("socket", args=[one]), rule("socket", args=[two])]))


def test_notifications_are_left_to_the_runtime():
    assert seccomp.compile(profile(syscalls=[rule("mkdir", action="SCMP_ACT_NOTIFY")])) is None


def test_the_profile_we_ship_resolves():
    path = pathlib.Path(seccomp.__file__).parent.parent / "data/seccomp.json"
    resolved = resolve(json.loads(path.read_text()), DEFAULT_CAPS)
    assert {"read", "clone3", "fchmodat2"} <= set(names(resolved))
    assert seccomp.default_profile("/my/own") == "/my/own"
