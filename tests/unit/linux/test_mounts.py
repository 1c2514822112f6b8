"""Mount options and mountinfo as texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podling.errors import PodlingError, Unsupported
from podling.linux import mounts, syscalls


def test_flags_have_the_kernel_s_values():
    values = {"MS_RDONLY": 1, "MS_NOSUID": 2, "MS_NODEV": 4, "MS_NOEXEC": 8, "MS_SYNCHRONOUS": 16, "MS_REMOUNT": 32,
              "MS_NOSYMFOLLOW": 256, "MS_NOATIME": 1024, "MS_NODIRATIME": 2048, "MS_BIND": 4096, "MS_MOVE": 8192,
              "MS_REC": 16384,
              "MS_UNBINDABLE": 1 << 17, "MS_PRIVATE": 1 << 18, "MS_SLAVE": 1 << 19, "MS_SHARED": 1 << 20,
              "MS_RELATIME": 1 << 21, "MS_STRICTATIME": 1 << 24, "MS_LAZYTIME": 1 << 25}
    assert {name: getattr(syscalls, name) for name in values} == values


def test_options_become_flags_and_data():
    flags, propagation, data = mounts.parse_options(["ro", "nodev", "size=1m", "rw", "", "rslave", "mode=0755", "defaults"])
    assert flags == syscalls.MS_NODEV
    assert propagation == syscalls.MS_SLAVE | syscalls.MS_REC
    assert data == ["size=1m", "mode=0755"]


def test_later_options_win():
    assert mounts.parse_options(["nosuid", "suid"])[0] == 0
    assert mounts.parse_options(["exec", "noexec"])[0] == syscalls.MS_NOEXEC


def test_mount_points_are_unescaped():
    text = "36 35 98:0 / /mnt/a\\040b\\134c rw shared:1 - ext4 /dev/x rw\n37 36 0:5 / /mnt/\\303\\251 rw - tmpfs t rw\n"
    assert mounts.mount_points(text)[0] == "/mnt/a b\\c"


@given(st.text(st.characters(codec="ascii", exclude_characters="/\0")))
def test_unescape_undoes_the_kernel_s_escaping(name):
    escaped = "".join(f"\\{ord(c):03o}" if c in " \t\n\\#" else c for c in name)
    assert mounts.unescape(escaped) == name


def test_overlay_options_as_one_text():
    assert mounts.overlay_data(["a", "b"], None, None, ["x=1"]) == "x=1,lowerdir=a:b"
    assert mounts.overlay_data(["a"], "u", "w", []) == "lowerdir=a,upperdir=u,workdir=w"


def test_an_overlay_needs_layers_and_not_too_many():
    with pytest.raises(PodlingError, match="no lower directory"):
        mounts.overlay("/nowhere", lowers=[])
    with pytest.raises(Unsupported, match=r"501 layers.*at most 500"):
        mounts.overlay("/nowhere", lowers=["/x"] * 501)


def test_what_is_mounted_where(tmp_path):
    assert mounts.is_mounted("/")
    assert mounts.is_mounted("/proc/")
    assert not mounts.is_mounted("/proc/self")
    assert not mounts.is_mounted(str(tmp_path))
    assert not mounts.is_mounted(f"{tmp_path}/missing/deeper")
    assert "/proc" in mounts.beneath("/")
    assert mounts.beneath(str(tmp_path)) == []
    assert mounts.unmount_all(str(tmp_path)) is False
