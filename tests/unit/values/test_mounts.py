"""Volumes, mounts and tmpfs.

golden/mounts.json holds what podman 5.4.2 answered to ``podman create OPTIONS IMAGE``: the error, or "" where it made the
container.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from podling.errors import InvalidArgument
from podling.values import mounts
from podling.values.mounts import Mount, complete_options, format_volume, parse_mount, parse_tmpfs, parse_volume

GOLDEN = json.loads((Path(__file__).parent / "golden" / "mounts.json").read_text())


def merge(argv):
    def values(flag):
        return [value for name, value in zip(argv[::2], argv[1::2], strict=True) if name == flag]

    return mounts.merge(volumes=values("-v"), mounts=values("--mount"), tmpfs=values("--tmpfs"), cwd="/cwd")


@pytest.mark.parametrize(("argv", "message"), GOLDEN, ids=[" ".join(argv)[:70] for argv, _ in GOLDEN])
def test_mounts_are_taken_and_refused_as_by_podman(argv, message):
    if not message:
        assert merge(argv)
        return
    with pytest.raises(InvalidArgument) as failure:
        merge(argv)
    assert failure.value.message == message


def bind(source, destination="/b", **fields):
    return Mount(kind="bind", source=source, destination=destination, **fields)


def volume(source, destination="/b", **fields):
    return Mount(kind="volume", source=source, destination=destination, **fields)


@pytest.mark.parametrize(("text", "mount"), [
    ("/a:/b", bind("/a")),
    ("/a:/b:ro,Z,U", bind("/a", options=("ro",), relabel="Z", chown=True)),
    ("/a:/b:z,rslave,noexec", bind("/a", options=("rslave", "noexec"), relabel="z")),
    ("/a/../c//d/:/b/./x/", bind("/c/d", "/b/x")),
    ("//a:/b", bind("/a")),
    ("./x:/b", bind("/cwd/x")), (".:/b", bind("/cwd")), ("../x:/b", bind("/x")), (".hidden:/b", bind("/cwd/.hidden")),
    ("/a:/b:O", bind("/a", overlay=True)),
    ("/a:/b:O,upperdir=/u,workdir=/w", bind("/a", overlay=True, options=("upperdir=/u", "workdir=/w"))),
    ("/a:/b:idmap", bind("/a", idmap="")), ("/a:/b:idmap=uids=0-1-10", bind("/a", idmap="uids=0-1-10")),
    ("/a:/b:cached,ro", bind("/a", options=("ro",))),
    ("data:/b", volume("data")), ("data:/b:ro,nocopy", volume("data", options=("ro",), copy_up=False)),
    ("data:/b:copy,O", volume("data", overlay=True)),
    ("/b", volume("")),
])
def test_volumes_are_read(text, mount):
    found = parse_volume(text, cwd="/cwd")
    assert found == mount
    assert parse_volume(format_volume(found)) == found


def test_relative_paths_are_refused_where_there_is_no_directory_to_take_them_from():
    with pytest.raises(InvalidArgument, match=r'^invalid host path "./x", must be an absolute path$'):
        parse_volume("./x:/b")
    with pytest.raises(InvalidArgument, match=r'^invalid host path "x", must be an absolute path$'):
        parse_mount("type=bind,src=x,dst=/b")
    assert parse_mount("type=bind,src=x,dst=/b", cwd="/cwd") == bind("/cwd/x")


@pytest.mark.parametrize(("text", "mount"), [
    ("type=bind,src=/a,dst=/b", bind("/a")),
    ("dst=/b,type=bind,source=/a", bind("/a")),
    ("type=bind,dst=/b", bind("/b")),
    ("type=bind,src=/a,target=/b,readonly", bind("/a", options=("ro",))),
    ("type=bind,src=/a,dst=/b,ro=true", bind("/a", options=("ro",))), ("type=bind,src=/a,dst=/b,ro=FALSE", bind("/a")),
    ("type=bind,src=/a,dst=/b,rw=false", bind("/a", options=("ro",))),
    ("type=bind,src=/a,dst=/b,bind-propagation=shared,bind-nonrecursive", bind("/a", options=("shared", "bind"))),
    ("type=bind,src=/a,dst=/b,relabel=private,U=true", bind("/a", relabel="Z", chown=True)),
    ("type=bind,src=/a,dst=/b,relabel=shared,chown=false", bind("/a", relabel="z")),
    ("type=bind,src=/a,dst=/b,idmap,consistency=cached,nosuid", bind("/a", idmap="", options=("nosuid",))),
    ('type=bind,"src=/a,b",dst=/b', bind("/a,b")),
    ("type=glob,src=/a*,dst=/b,ro", Mount(kind="glob", source="/a*", destination="/b", options=("ro",))),
    ("type=glob,src=/a*", Mount(kind="glob", source="/a*", destination="")),
    ("type=volume,src=v,destination=/b,volume-subpath=x", volume("v", subpath="x")),
    ("type=volume,dst=/b", volume("")),
    ("type=volume,src=v,dst=/b,volume-opt=type=nfs,volume-opt=o=addr=1.2.3.4,ro",
     volume("v", options=("ro",), volume_options=("type=nfs", "o=addr=1.2.3.4"))),
    ("type=tmpfs,dst=/b,tmpfs-size=1m,tmpfs-mode=700,notmpcopyup",
     Mount(kind="tmpfs", source="tmpfs", destination="/b", options=("size=1m", "mode=700"), copy_up=False)),
    ("type=ramfs,dst=/b", Mount(kind="ramfs", source="ramfs", destination="/b")),
    ("type=devpts,dst=/b,gid=5,mode=620,newinstance", Mount(kind="devpts", source="devpts", destination="/b",
                                                            options=("gid=5", "mode=620", "newinstance"))),
    ("type=image,src=busybox:1,dst=/b,rw=true,subpath=/bin", Mount(kind="image", source="busybox:1", destination="/b",
                                                                   read_write=True, subpath="/bin")),
])
def test_mounts_are_read(text, mount):
    assert parse_mount(text) == mount


@pytest.mark.parametrize(("text", "message"), [
    ("type=bind,src=/a,dst=/b,no-dereference", "the 'no-dereference' mount option is not available yet"),
    ("type=glob,dst=/b", "must set source of a glob mount"),
    ("type=bind,src=/a,dst=/b,ro=x", ("'readonly', 'ro', or 'rw' must be set to true or false, instead received \"x\": "
                                     "must provide an argument for option")),
    ("type=volume,src=v,dst=/b,volume-opt", "cannot parse driver opts: invalid mount option"),
    ("type=bind,src=/a,dst=/b,ro,ro", ("cannot pass 'readonly', 'ro', or 'rw' options more than once: "
                                      "must provide an argument for option")),
])
def test_what_podman_would_ignore_or_we_cannot_do_is_refused(text, message):
    with pytest.raises(InvalidArgument) as failure:
        parse_mount(text)
    assert failure.value.message == message


def test_tmpfs_are_read():
    assert parse_tmpfs("/b") == Mount(kind="tmpfs", source="tmpfs", destination="/b")
    assert parse_tmpfs("/b/:ro,size=1m,U") == Mount(kind="tmpfs", source="tmpfs", destination="/b", options=("ro",
    "size=1m"), chown=True)


def test_mounts_are_merged_in_the_order_asked():
    merged = mounts.merge(volumes=["/a:/1", "v:/2"], mounts=["type=tmpfs,dst=/3"], tmpfs=["/4"], image_volumes=["/2", "/5/"])
    assert [(mount.kind, mount.source, mount.destination) for mount in merged] == [
        ("bind", "/a", "/1"), ("volume", "v", "/2"), ("tmpfs", "tmpfs", "/3"), ("tmpfs", "tmpfs", "/4"), ("volume", "", "/5")]


def test_equal_mounts_count_once_whatever_the_spelling():
    assert len(mounts.merge(volumes=["/a:/b", "/a/:/b/"], mounts=["type=bind,src=/a,dst=/b"])) == 1
    with pytest.raises(InvalidArgument, match=r"^/b: duplicate mount destination$"):
        mounts.merge(volumes=["/a:/b", "v:/b/../b"])


@pytest.mark.parametrize(("mount", "flags", "shown"), [     # as `podman inspect` shows Binds and Tmpfs
    (parse_volume("/a:/b"), (), "rw,rprivate,rbind"),
    (parse_volume("/a:/b:ro"), ("nosuid", "nodev"), "ro,rprivate,nosuid,nodev,rbind"),
    (parse_volume("/a:/b:bind"), (), "bind,rw,private"),
    (parse_volume("/a:/b:shared,exec"), ("noexec",), "shared,exec,rw,rbind"),
    (parse_volume("/a:/b:z,U"), (), "z,U,rw,rprivate,rbind"),
    (parse_volume("/a:/b:idmap"), (), "idmap,rw,rprivate,rbind"),
    (parse_volume("v:/b:ro,nocopy"), ("nosuid", "nodev"), "ro,nocopy,rprivate,nosuid,nodev,rbind"),
    (parse_tmpfs("/b"), ("nosuid", "nodev"), "rw,rprivate,nosuid,nodev,tmpcopyup"),
    (parse_tmpfs("/b:size=1m,exec"), ("nosuid", "nodev"), "size=1m,exec,rw,rprivate,nosuid,nodev,tmpcopyup"),
    (parse_tmpfs("/b:notmpcopyup,ro"), ("nosuid", "nodev"), "ro,rprivate,nosuid,nodev"),
])
def test_options_are_completed_as_podman_completes_them(mount, flags, shown):
    assert ",".join(complete_options(mount, source_flags=flags)) == shown


def test_destinations_are_cleaned():
    assert mounts.clean_destination("//a/./b/../c/") == "/a/c"
    assert mounts.clean_destination("/..") == "/"
    for path in ("", "a", "/a\0b"):
        with pytest.raises(InvalidArgument):
            mounts.clean_destination(path)
