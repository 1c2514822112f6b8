"""Commands on images answer as podman does, byte for byte: the same store content, the same words, the same exit codes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.sandbox import World

SETUP = (
    ("tag", "bb", "quay.io/x/y", "docker.io/library/bb:v2"),
    ("create", "--name", "user", "bb", "true"),
)
QUESTIONS = (
    "images -q",
    "images --format {{.Repository}}",
    "images --sort repository --format {{.Repository}}:{{.Tag}}",
    "images --sort tag --format {{.Tag}}",
    "images --sort size -q",
    "images --sort foo",
    "images -n --format {{.ID}}|{{.Size}}|{{.CreatedAt}}|{{.ReadOnly}}|{{.Dangling}}|{{.Containers}}",
    "images --format {{.Foo}}",
    "images --format table {{.Size}}\\t{{.ID}}",
    "images -q y",
    "images -q x/y",
    "images -q b*",
    "images -q nope",
    "images -q -f reference=*bb*",
    "images -q -f dangling=true",
    "images -q -f dangling=false",
    "images -q -f foo",
    "images -q -f foo=bar",
    "images -q -f label=a=b",
    "images -q -f containers=false",
    "images -q -f since=nope",
    "images -q -f before=nope",
    "images -q -f until=soon",
    "images -q -f until=2020-01-01",
    "images bb -f dangling=true",
    "image exists bb",
    "image exists nope",
    "history -q bb",
    "history --format {{.CreatedBy}}|{{.Comment}} bb",
    "history --human=false --format {{.Created}} bb",
    "history nope",
    "image inspect nope",
    "inspect --type foo bb",
    "inspect --type volume bb",
    "inspect nope",
    "image inspect --format {{.Id}}|{{.Created}}|{{.Config.Env}}|{{.Config.Cmd}}|{{.Os}}|{{.Architecture}} bb",
    "image inspect --format {{.RootFS.Layers}}|{{.Labels}}|{{.Author}}|{{.Comment}}|{{.User}} bb",
    "image inspect --format {{json_.Config}} bb",
    "image inspect --format {{json_.RootFS}} bb",
    "image inspect --format {{range_.RootFS.Layers}}{{.}}_{{end}} bb",
    "image inspect --format {{.Foo}} bb",
    "image inspect --format {{.ID}} bb nope",
    "tag nope x",
    "tag bb",
    "tag bb A",
    "tag bb sha256:x",
    "tag bb x@sha256:0000000000000000000000000000000000000000000000000000000000000000",
    "untag nope",
    "untag bb nope",
    "rmi nope",
    "rmi -i nope",
    "rmi -f nope",
    "rmi -f nope nope2",
    "image prune",
    "network prune",
    "system prune",
    "rmi",
    "rmi -a x",
    "rmi bb quay.io/x/y docker.io/library/bb:v2",
    "save",
    "save nope -o /run/nope.tar",
    "save --format foo bb -o /run/nope.tar",
    "save --compress bb -o /run/nope.tar",
    "load -i /run/nope.tar",
    "import /run/nope.tar",
    "pull docker-archive:/run/nope.tar",
    "logout nope.invalid",
    "login --get-login nope.invalid",
    "volume ls",
    "volume rm nope",
    "volume rm",
    "volume inspect nope",
    "volume exists nope",
    "volume ls -f foo=bar",
    "volume ls -f foo",
    "volume create a:b",
    "volume create --opt foo=bar x",
    "volume prune",
)
# What is ours on purpose: other words, or more of them.
OTHER_WORDS = {
    "rmi bb quay.io/x/y docker.io/library/bb:v2", "pull docker-archive:/run/nope.tar", "images --sort foo", "tag bb A",
    "image prune", "network prune", "system prune", "images -q -f since=nope", "images -q -f before=nope",
}


@pytest.fixture(scope="module")
def both(shared_world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world where podman and podling have the same images."""
    from tests.support.busybox import busybox_archive

    archive: Path = busybox_archive(tmp_path_factory.mktemp("both"))
    for engine in (shared_world.podman, lambda *argv: shared_world.run("podling", *argv)):
        engine("load", "-q", "-i", str(archive))
    for command in SETUP[:1]:
        shared_world.podman(*command)
        shared_world.run("podling", *command)
    return shared_world


def words(text: str) -> list[str]:
    """Lines without podling's hints and with podman's name replaced."""
    return [line.replace("podman", "podling") for line in text.splitlines() if "level=warning" not in line]


def argv(question: str) -> list[str]:
    """The question's words; an underscore stands for a blank in a template."""
    parts = question.split(" ")
    if "table" in parts:
        at = parts.index("table")
        parts[at:] = [" ".join(parts[at:])]
    return [part.replace("_", " ") if "{{" in part else part for part in parts]


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_answer_is_podmans(both: World, question: str) -> None:
    theirs = both.podman(*argv(question), check=False)
    ours = both.run("podling", *argv(question), check=False)
    assert words(ours.stdout) == words(theirs.stdout)
    assert ours.returncode == theirs.returncode
    if question not in OTHER_WORDS:
        said = words(ours.stderr)
        expected = [line.replace("inspecting object: ", "").replace("printing inspect output: ", "")     # gone in podman 5
                    for line in words(theirs.stderr)]
        assert said[:len(expected)] == expected


def test_rows_as_json_are_podman_5s(both: World) -> None:
    """In the order of its fields, too: programs read them a line at a time. (Podman 4 writes the whole list for them.)"""
    both.run("sh", "-ec", "mkdir /run/rows; echo hi >/run/rows/f; tar cf /run/rows.tar -C /run/rows .; touch -d @1700000000 /run/rows.tar")
    both.run("podling", "import", "-q", "-m", "why", "/run/rows.tar", "rows:1")
    both.run("podling", "tag", "rows:1", "rows:2")
    lines = both.run("podling", "images", "-f", "reference=rows", "--format", "{{json .}}").stdout.splitlines()
    shapes = [json.loads(line) for line in lines]
    assert all(list(shape)[:6] == ["repository", "tag", "Id", "ParentId", "RepoTags", "RepoDigests"] for shape in shapes)
    assert sorted(f"{shape['repository']}:{shape['tag']}" for shape in shapes) == ["localhost/rows:1", "localhost/rows:2"]
    assert {shape["Created"] for shape in shapes} == {1700000000}
    history = both.run("podling", "history", "--format", "{{json .}}", "rows:1").stdout
    shape = json.loads(history)
    assert list(shape) == ["id", "created", "CreatedBy", "tags", "size", "comment"]
    assert history.count("\n") == 1
    whole = both.run("podling", "history", "--format", "json", "rows:1").stdout
    assert json.loads(whole) == [{**shape, "Created": shape["created"]}]
    assert whole.count("\n") == 1
    both.run("podling", "rmi", "rows:1", "rows:2")


def test_the_same_file_is_imported_as_the_same_image(both: World) -> None:
    """As old as the file, as podman's; from a pipe it is of now."""
    both.run("sh", "-ec", "mkdir /run/root; echo hi >/run/root/f; tar cf /run/root.tar -C /run/root .; touch -d @1700000000 /run/root.tar")
    stories = []
    for engine in (both.podman, lambda *argv, **rest: both.run("podling", *argv, **rest)):
        ids = {engine("import", "-q", "/run/root.tar", f"imported:{number}").stdout for number in (1, 2)}
        created = engine("image", "inspect", "--format", "{{.Created}}", "imported:1").stdout
        engine("save", "-q", "-o", "/run/nameless.tar", *(text.strip().removeprefix("sha256:") for text in ids))
        archived = json.loads(both.run("tar", "xOf", "/run/nameless.tar", "manifest.json").stdout)
        both.run("rm", "/run/nameless.tar")
        engine("rmi", "imported:1", "imported:2")
        stories.append((len(ids), created, archived[0]["RepoTags"]))
    assert stories[1] == stories[0] == (1, stories[0][1], [])
