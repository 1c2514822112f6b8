"""What the options of a local volume mean."""

from __future__ import annotations

import pytest

from podling.engine.options import CreateVolumeOptions
from podling.engine.volumes import decide_options, is_name, needs_mount
from podling.errors import InvalidArgument, NotFound, PodlingError, Unsupported


def test_an_owner_alone_needs_no_mount() -> None:
    said, uid, gid = decide_options(CreateVolumeOptions(options={"o": "uid=7,gid=8"}))
    assert (said, uid, gid) == ({"o": "uid=7,gid=8", "UID": "7", "GID": "8"}, 7, 8)
    assert not needs_mount(said)


def test_a_tmpfs_needs_one() -> None:
    asked = {"type": "tmpfs", "device": "tmpfs", "o": "size=2m,uid=5,nodev"}
    said, uid, gid = decide_options(CreateVolumeOptions(options=asked))
    assert said == {**asked, "SIZE": "2m", "UID": "5"}
    assert (uid, gid) == (5, 0)
    assert needs_mount(said)


@pytest.mark.parametrize(("options", "kind", "words"), [
    ({"foo": "bar"}, InvalidArgument, "invalid mount option foo for driver 'local': invalid argument"),
    ({"type": "bind", "device": "/does/not/exist"}, NotFound, "stat /does/not/exist: no such file or directory"),
    ({"o": "size=10m"}, Unsupported, "volume options size and inodes not supported"),
    ({"o": "uid=x"}, InvalidArgument, "cannot convert UID x to integer"),
    ({"o": "nodev"}, InvalidArgument, "needs a type or a device"),
])
def test_options_that_cannot_work_are_refused(options: dict[str, str], kind: type[PodlingError], words: str) -> None:
    with pytest.raises(kind, match=words):
        decide_options(CreateVolumeOptions(options=options))


def test_another_driver_is_refused_by_name() -> None:
    with pytest.raises(Unsupported, match="volume driver foo is not available"):
        decide_options(CreateVolumeOptions(driver="foo"))


@pytest.mark.parametrize("name", ["v", "a.b-c_D", "0", "f" * 64])
def test_a_name(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", ".removed", "a/b", "a b", "-a", "_a", "ä", "a\n", "a:b"])
def test_what_is_no_name(name: str) -> None:
    assert not is_name(name)
