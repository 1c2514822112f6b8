"""What a container changed: told, made an image, exported, copied in and out, mounted; beside podman where it has an opinion."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.support.busybox import busybox_archive
from tests.support.sandbox import new_world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sandbox import World

CHANGES = ("echo hi >/etc/new; rm /etc/group; mkdir -p /a/b; echo x >/a/b/c; chmod 700 /root; rm -rf /var; mkdir /var; "
           "echo z >/var/z; mkdir /tmp/t; ln -s /etc/new /lnk; rm /bin/wget; ln /a/b/c /a/hard; echo y >/data/file")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The same changed container in both engines, running."""
    world = new_world()
    archive = str(busybox_archive(tmp_path_factory.mktemp("changes")))
    create = ("create", "--name", "c1", "-v", "vol:/data", "-e", "FOO=bar", "--network", "none", "bb", "sh", "-c", "sleep 1000")
    for run in (world.podman, lambda *argv, **rest: world.run("podling", *argv, **rest)):
        run("load", "-q", "-i", archive)
        run(*create)
        run("start", "c1")
        run("exec", "c1", "sh", "-c", CHANGES)
    yield world
    world.run("podling", "rm", "-f", "-t0", "c1", check=False)
    world.podman("rm", "-f", "-t0", "c1", check=False)
    world.close()


def podling(world: World, *argv: str, **options: object) -> str:
    return world.run("podling", *argv, **options).stdout


@pytest.mark.parametrize("question", [
    "diff c1", "diff --format json c1", "container diff c1", "image diff bb", "diff --format json bb", "diff --format foo c1",
    "diff nope", "container diff nope", "image diff nope", "diff c1 --latest", "mount nope", "export nope",
    "export -o a:b c1", "commit -m msg c1 x", "commit c1 Bad:Name:x", "image mount nope", "image unmount nope",
    "image unmount", "image tree nope", "cp /nope c1:/tmp", "cp c1:/nope /run", "cp nope:/x /run", "cp /etc/passwd c1:/nodir/x",
    "cp /etc/passwd c1:/tmp/new/", "cp /etc c1:/bin/busybox", "cp /a /b"])
def test_answers_like_podman(machine: World, question: str) -> None:
    theirs = machine.podman(*question.split(), check=False)
    ours = machine.run("podling", *question.split(), check=False)
    assert ours.returncode == theirs.returncode, ours.stderr
    assert ours.stdout == theirs.stdout
    if theirs.returncode:
        assert ours.stderr.splitlines()[0].replace("podling", "podman") == theirs.stderr.splitlines()[-1]


@pytest.mark.parametrize("question", ["diff c1 bb", "diff bb c1"])
def test_two_trees_differ_as_in_podman(machine: World, question: str) -> None:
    theirs, ours = machine.podman(*question.split()).stdout, podling(machine, *question.split())
    made_anew = {"C /var", "D /var"}                # a directory that was removed and made again: deleted for podman, changed for us
    assert set(ours.splitlines()) - made_anew == set(theirs.splitlines()) - made_anew


@pytest.mark.parametrize("form", ["oci", "docker"])
def test_a_commit_is_the_image_that_podman_makes(machine: World, form: str) -> None:
    argv = ("commit", "-q", "-f", form, "-a", "me <x>", "-c", "CMD=ls", "-c", "ENV A=b", "-c", "LABEL x=y", "-c", "EXPOSE 80", "c1",
            f"img-{form}")
    ours = podling(machine, *argv).strip()
    machine.podman(*argv)
    shapes = []
    for run in (machine.podman, lambda *words: machine.run("podling", *words)):
        shape = json.loads(run("image", "inspect", f"img-{form}").stdout)[0]
        without = ("container=", "TERM=")            # podman 4 has TERM without a terminal, too
        shape["Config"]["Env"] = sorted(line for line in shape["Config"]["Env"] if not line.startswith(without))
        shape["History"][-1].pop("created")
        shapes.append({key: shape[key] for key in ("RepoTags", "Config", "Author", "Architecture", "Os", "ManifestType", "History")})
        assert len(shape["RootFS"]["Layers"]) == 2
    assert shapes[1] == shapes[0]
    assert podling(machine, "images", "-q", "--no-trunc", f"img-{form}") == f"sha256:{ours}\n"
    shown = podling(machine, "run", "--rm", "--network", "none", f"img-{form}", "sh", "-c",
                    "cat /etc/new /a/b/c /var/z /lnk; ls /etc /data; test ! -e /bin/wget; stat -c %h /a/hard").split()
    assert shown == ["hi", "x", "z", "hi", *sorted(shown[4:-1]), "2"]
    assert "group" not in shown
    assert podling(machine, "image", "diff", f"img-{form}") == machine.podman("image", "diff", f"img-{form}").stdout


def test_a_committed_layer_is_written_again_byte_for_byte_and_other_tools_read_it(machine: World) -> None:
    podling(machine, "commit", "-q", "c1", "saved")
    podling(machine, "save", "-q", "--format", "oci-archive", "-o", "/run/saved.tar", "saved")
    machine.run("skopeo", "copy", "oci-archive:/run/saved.tar", "dir:/run/copied")
    machine.podman("load", "-q", "-i", "/run/saved.tar")
    manifest = json.loads(machine.path("/run/copied/manifest.json").read_bytes())
    layer = machine.path("/run/copied") / manifest["layers"][-1]["digest"].partition(":")[2]
    names = tarfile.open(layer).getnames()
    assert {"bin/.wh.wget", "etc/.wh.group", "var/.wh..wh..opq", "var/z", "a/b/c", "lnk"} <= set(names)
    seen = machine.podman("run", "--rm", "--network", "none", "saved", "sh", "-c", "ls /bin/wget /var; cat /lnk", check=False)
    assert seen.stdout == "/var:\nz\nhi\n"


def test_a_squashed_commit_has_one_layer_and_the_same_files(machine: World) -> None:
    podling(machine, "commit", "-q", "-s", "--pause=false", "c1", "squashed")
    shape = json.loads(podling(machine, "image", "inspect", "squashed"))[0]
    assert len(shape["RootFS"]["Layers"]) == 1
    assert len(shape["History"]) == 1
    assert podling(machine, "run", "--rm", "--network", "none", "squashed", "cat", "/lnk", "/var/z") == "hi\nz\n"


def test_commit_writes_the_id_and_takes_volumes_when_asked(machine: World) -> None:
    podling(machine, "commit", "-q", "--include-volumes", "--iidfile", "/run/iid", "c1")
    image = machine.path("/run/iid").read_text()
    assert json.loads(podling(machine, "image", "inspect", image))[0]["Config"]["Volumes"] == {"/data": {}}


def test_the_container_runs_on_after_a_commit(machine: World) -> None:
    podling(machine, "commit", "-q", "c1", "again")
    assert podling(machine, "inspect", "--format", "{{.State.Status}}", "c1") == "running\n"
    assert podling(machine, "exec", "c1", "echo", "alive") == "alive\n"


def test_export_holds_the_whole_tree(machine: World) -> None:
    podling(machine, "export", "-o", "/run/export.tar", "c1")
    machine.podman("export", "-o", "/run/theirs.tar", "c1")
    ours, theirs = ({(member.name, member.type, member.linkname) for member in tarfile.open(machine.path(path))}
                    for path in ("/run/export.tar", "/run/theirs.tar"))
    assert ours == theirs


def test_image_tree_shows_layers_and_what_was_built_on_them(machine: World) -> None:
    podling(machine, "commit", "-q", "c1", "leaf")
    lines = podling(machine, "image", "tree", "leaf").splitlines()
    assert lines[1] == "Tags:     [localhost/leaf:latest]"
    assert lines[3] == "Image Layers"
    assert lines[4].startswith("├── ID: ")
    assert lines[4].endswith("Size:  2.13MB Top Layer of: [localhost/bb:latest]")
    assert lines[5].startswith("└── ID: ")
    assert "localhost/leaf:latest" in podling(machine, "image", "tree", "--whatrequires", "bb")


def test_images_are_mounted_and_counted(machine: World) -> None:
    place = podling(machine, "image", "mount", "bb").strip()
    assert podling(machine, "image", "mount", "bb").strip() == place
    assert machine.run("ls", f"{place}/bin/busybox").stdout
    assert machine.run("touch", f"{place}/x", check=False).returncode
    assert podling(machine, "image", "mount").split() == ["localhost/bb:latest", place]
    image = podling(machine, "image", "unmount", "bb")
    assert machine.run("ls", place).stdout
    assert podling(machine, "image", "umount", "bb") == image
    assert not machine.path(place).exists()
    assert podling(machine, "image", "umount", "bb") == ""
    assert podling(machine, "image", "mount") == ""


def test_a_mounted_image_is_kept_from_removal(machine: World) -> None:
    podling(machine, "tag", "bb", "second")
    podling(machine, "commit", "-q", "c1", "held")
    podling(machine, "image", "mount", "held")
    refused = machine.run("podling", "rmi", "held", check=False)
    assert refused.returncode == 2
    assert "is mounted at" in refused.stderr
    podling(machine, "rmi", "-f", "held")
    podling(machine, "untag", "bb", "second")


def test_containers_are_mounted_until_they_are_unmounted(machine: World) -> None:
    podling(machine, "create", "--name", "still", "--network", "none", "bb", "true")
    assert "still" not in podling(machine, "mount")
    place = podling(machine, "mount", "still").strip()
    machine.path(f"{place}/made").write_text("by the host")
    podling(machine, "start", "-a", "still")
    machine.wait_until(lambda: "exited" in podling(machine, "inspect", "--format", "{{.State.Status}}", "still"), "it ends")
    assert machine.path(f"{place}/made").exists()
    shape = json.loads(podling(machine, "mount", "--format", "json"))
    assert {"id", "Names", "mountpoint"} == set(shape[0])
    assert podling(machine, "umount", "still") == "still\n"
    assert not machine.path(f"{place}/made").exists()
    assert "A /made\n" in podling(machine, "diff", "still")
    podling(machine, "rm", "still")


# --- cp ---------------------------------------------------------------------------------------------------------------

_COPIES = """
cd /run/w-NAME
ENGINE cp f c1:/tmp; ENGINE cp f c1:/tmp/renamed; ENGINE cp d c1:/tmp; ENGINE cp d c1:/tmp/dd; ENGINE cp d/. c1:/tmp/d3
ENGINE cp lf c1:/tmp; ENGINE cp ld c1:/tmp/; ENGINE cp d c1:/data; ENGINE cp f c1:rel
ENGINE cp c1:/tmp/d out; ENGINE cp c1:/tmp/d new; ENGINE cp c1:/tmp/lf . ; mkdir both; ENGINE cp c1:/tmp/d both
tar c f d | ENGINE cp - c1:/root
ENGINE cp c1:/tmp/f - | tar t; ENGINE cp c1:/tmp/d - | tar t; ENGINE cp c1:/tmp/d/. - | tar t
find . | sort
"""
_LOOK = "find /tmp /data /root /rel | sort; cat /tmp/f /tmp/renamed /tmp/lf /data/d/g; stat -c '%u:%g %n' /tmp/f /data/d/g"


def test_cp_puts_files_where_podman_puts_them(machine: World) -> None:
    seen = []
    conf = "/run/podman-oracle.conf"
    for name, engine in (("theirs", f"env CONTAINERS_CONF={conf} TMPDIR=/run podman"), ("ours", "podling")):
        machine.run("sh", "-ec", f"mkdir -p /run/w-{name}/d/sub; cd /run/w-{name}; echo a >f; echo b >d/g; ln -s f lf; ln -s d ld")
        done = machine.run("sh", "-ec", _COPIES.replace("NAME", name).replace("ENGINE", engine))
        look = machine.run(*engine.split(), "exec", "c1", "sh", "-c", _LOOK)
        seen.append((done.stdout.replace("d/\n", "d\n").replace("sub/\n", "sub\n"), look.stdout))
    assert seen[1] == seen[0]


def test_cp_reaches_a_stopped_container_and_its_volumes(machine: World) -> None:
    podling(machine, "create", "--name", "stopped", "--network", "none", "-v", "other:/data", "-u", "5:6", "bb",
            "cat", "/data/in", "/tmp/in")
    machine.path("/run/in").write_text("text\n")
    podling(machine, "cp", "/run/in", "stopped:/data")
    podling(machine, "cp", "/run/in", "stopped:/tmp/")
    assert podling(machine, "start", "-a", "stopped") == "text\ntext\n"
    podling(machine, "cp", "stopped:/data/in", "/run/back")
    assert machine.path("/run/back").read_text() == "text\n"
    place = podling(machine, "mount", "stopped").strip()
    assert (machine.path(f"{place}/tmp/in").stat().st_uid, machine.path(f"{place}/tmp/in").stat().st_gid) == (5, 6)
    podling(machine, "cp", "-a=false", "/run/in", "stopped:/tmp/kept")
    assert machine.path(f"{place}/tmp/kept").stat().st_uid == 0
    podling(machine, "rm", "-v", "stopped")


def test_cp_never_follows_a_container_out(machine: World) -> None:
    """A container's links, also as directories on the way and in archives, lead to its own files only."""
    machine.path("/run/secret").write_text("the host's")
    machine.run("podling", "exec", "c1", "sh", "-c",
                "mkdir -p /evil/run; ln -s /run/secret /evil/file; ln -s / /evil/top; ln -s ../../../../../../run /evil/up; "
                "ln -s /run /evil/run/dir")
    for path in ("/evil/file", "/evil/top/run/secret", "/evil/up/secret", "/evil/run/dir/secret"):
        done = machine.run("podling", "cp", f"c1:{path}", "/run/stolen", check=False)
        assert done.returncode == 125
        assert "could not be found on container" in done.stderr
    machine.path("/run/payload").write_text("payload")
    podling(machine, "cp", "/run/payload", "c1:/evil/up/")
    assert not machine.path("/run/evil").exists()
    assert podling(machine, "exec", "c1", "cat", "/run/payload") == "payload"
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        link = tarfile.TarInfo("out")
        link.type, link.linkname = tarfile.SYMTYPE, "/run"
        tar.addfile(link)
        inside = tarfile.TarInfo("out/written")
        inside.size = 3
        tar.addfile(inside, io.BytesIO(b"bad"))
    machine.run("podling", "cp", "-", "c1:/evil", stdin=content.getvalue(), check=False)
    assert not machine.path("/run/written").exists()


def test_cp_overwrites_another_kind_only_when_asked(machine: World) -> None:
    machine.run("sh", "-ec", "mkdir -p /run/kinds/x; echo 1 >/run/kinds/x/y; echo 2 >/run/kinds/file")
    machine.run("podling", "exec", "c1", "sh", "-c", "mkdir -p /kinds/x/y /kinds/file")
    refused = machine.run("podling", "cp", "/run/kinds/x", "c1:/kinds", check=False)
    assert "cannot overwrite directory x/y with a non-directory" in refused.stderr
    assert machine.run("podling", "cp", "/run/kinds", "c1:/", check=False).returncode == 125
    podling(machine, "cp", "--overwrite", "/run/kinds/x", "c1:/kinds")
    assert podling(machine, "exec", "c1", "cat", "/kinds/x/y") == "1\n"
