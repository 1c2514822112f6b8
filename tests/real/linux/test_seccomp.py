"""Compiled filters in real crun containers."""

from __future__ import annotations

import base64
import json
import shutil

import pytest

from podling.linux import seccomp

PROFILE = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
    {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 122}]}       # EDQUOT: "Disk quota exceeded"
TRY = "mkdir /tmp/new 2>&1; echo end"
BUSYBOX = "/bin/busybox"


@pytest.fixture
def bundle(world):
    """Runs a shell command in a crun container of its own: with a profile, a ready program, both or none."""
    if not shutil.which("crun") or not shutil.which("busybox"):
        pytest.skip("needs crun and busybox-static (`make setup` installs them)")
    root = world.path("/run/bundle")
    for name in ("bin", "tmp", "proc", "dev", "sys"):
        (root / "rootfs" / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), root / "rootfs/bin/busybox")

    def configure(command, *, profile=None, program=None):
        config = {
            "ociVersion": "1.0.0", "root": {"path": "rootfs"},
            "process": {"cwd": "/", "args": [BUSYBOX, "sh", "-c", command], "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")],
                      "cgroupsPath": f"/{world.name}/c"}}
        if profile:
            config["linux"]["seccomp"] = profile
        if program:
            config["annotations"] = {"run.oci.seccomp_bpf_data": base64.b64encode(program).decode()}
        (root / "config.json").write_text(json.dumps(config))
    return configure


def test_the_annotation_filters(world, bundle):
    program = seccomp.compile(PROFILE)
    if program is None:
        pytest.skip("needs libseccomp.so.2 (package libseccomp2)")
    for options, blocked in (({}, False), ({"profile": PROFILE}, True), ({"program": program}, True),
                             ({"profile": PROFILE, "program": program}, True)):
        bundle(f"{BUSYBOX} {TRY}; {BUSYBOX} rmdir /tmp/new 2>&1; true", **options)
        output = world.run("crun", "run", "--bundle", "/run/bundle", "c").stdout
        assert ("quota exceeded" in output.lower()) is blocked, (options.keys(), output)


def test_the_annotation_wins_over_the_profile(world, bundle):
    allow = seccomp.compile({"defaultAction": "SCMP_ACT_ALLOW"})
    if allow is None:
        pytest.skip("needs libseccomp.so.2 (package libseccomp2)")
    bundle(f"{BUSYBOX} {TRY}", profile=PROFILE, program=allow)
    assert "quota" not in world.run("crun", "run", "--bundle", "/run/bundle", "c").stdout


def test_exec_is_filtered_too(world, bundle):
    program = seccomp.compile(PROFILE)
    if program is None:
        pytest.skip("needs libseccomp.so.2 (package libseccomp2)")
    bundle(f"{BUSYBOX} sleep 60", program=program)
    running = world.spawn("crun", "run", "--bundle", "/run/bundle", "c")
    world.wait_until(lambda: '"running"' in world.run("crun", "state", "c", check=False).stdout, "the container runs")
    try:
        output = world.run("crun", "exec", "c", BUSYBOX, "sh", "-c", f"{BUSYBOX} {TRY}").stdout
        assert "quota exceeded" in output.lower()
        filters = world.run("crun", "exec", "c", BUSYBOX, "grep", "Seccomp:", "/proc/self/status").stdout
        assert filters.split() == ["Seccomp:", "2"]
    finally:
        world.run("crun", "delete", "--force", "c", check=False)        # "crun run" itself may be quicker
        running.wait()
