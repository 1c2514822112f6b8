"""Manifest lists, search, and what is on the disk, with a true registry; skopeo and podman read what we wrote."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.busybox import busybox_archive
from tests.support.images import DOCKER_LIST, OCI_INDEX, simple_image
from tests.support.sandbox import new_world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sandbox import World

HOST = "localhost:5000"
CONFIG = ("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: /run/registry}, delete: {enabled: true}}\n"
          "http: {addr: 127.0.0.1:5000}\n")
INSECURE = "--tls-verify=false"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world with a registry, busybox in both engines, and an image for arm64 in the registry."""
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed")
    world = new_world()
    world.path("/run/registry.yml").write_text(CONFIG)
    server = world.spawn("docker-registry", "serve", "/run/registry.yml", stderr=subprocess.DEVNULL)
    base = tmp_path_factory.mktemp("lists")
    archive = str(busybox_archive(base))
    world.run("podling", "load", "-q", "-i", archive)
    world.podman("load", "-q", "-i", archive)
    simple_image({"etc/a": b"arm"}, architecture="arm64", variant="v8").write_directory(base / "arm")
    put = ("skopeo", "copy", "--dest-tls-verify=false", f"dir:{base / 'arm'}", f"docker://{HOST}/team/arm:1")
    world.wait_until(lambda: world.run(*put, check=False).returncode == 0, "the registry answers")
    yield world
    server.kill()
    server.wait()
    world.close()


def podling(world: World, *argv: str) -> str:
    return world.run("podling", *argv).stdout


def ask(world: World, question: str) -> tuple[tuple[int, str, str], tuple[int, str, str]]:
    """What ours and podman's say: (exit code, output, last line of the errors)."""
    answers = []
    for run in (lambda *words: world.run("podling", *words, check=False), lambda *words: world.podman(*words, check=False)):
        done = run(*question.split())
        lines = done.stderr.splitlines() or [""]
        errors = [line for line in lines if line.startswith("Error")]
        answers.append((done.returncode, done.stdout, (errors or [""])[0].replace("podling", "podman")))
    return answers[0], answers[1]


def _without_digests(answer: tuple[int, str, str]) -> tuple[list[str], str]:
    """Podman writes another manifest for an image from an archive; a list itself has been OCI's since version 5."""
    return [line for line in answer[1].replace(DOCKER_LIST, OCI_INDEX).splitlines()
            if not line.strip().startswith(('"digest"', '"size"'))], answer[2]


def test_lists_are_made_changed_and_shown_as_podman_does(machine: World) -> None:
    for question in ("manifest create ml", "manifest inspect ml", "manifest create ml", "manifest create --amend ml",
                     "manifest exists ml", "manifest exists nope", "manifest add ml containers-storage:localhost/bb:latest",
                     "manifest inspect ml", "manifest annotate --arch arm64 ml sha256:" + "0" * 64,
                     "manifest remove ml sha256:" + "0" * 64, "manifest rm bb", "manifest add nope containers-storage:localhost/bb:latest",
                     "manifest remove ml", "manifest rm nope"):
        ours, theirs = ask(machine, question)
        if "inspect" not in question and theirs[0] == 0:
            ours, theirs = (ours[0], "", ""), (theirs[0], "", "")         # ids
        assert ours[0] == theirs[0], question
        if "already" in theirs[2]:
            assert "that name is already in use" in ours[2]
            continue
        assert _without_digests(ours) == _without_digests(theirs), question
    digest = json.loads(podling(machine, "manifest", "inspect", "ml"))["manifests"][0]["digest"]
    changes = f"--arch arm64 --variant v8 --os-version 3 --annotation a=b ml {digest}"
    podling(machine, "manifest", "annotate", *changes.split())
    shown = json.loads(podling(machine, "manifest", "inspect", "ml"))["manifests"][0]
    assert shown["platform"] == {"architecture": "arm64", "os": "linux", "os.version": "3", "variant": "v8"}
    assert shown["annotations"] == {"a": "b"}
    listed = podling(machine, "manifest", "create", "--amend", "ml").strip()
    assert json.loads(podling(machine, "manifest", "inspect", "ml"))["mediaType"] == OCI_INDEX
    for value, shown in (("true", ["localhost/ml"]), ("false", ["localhost/bb"])):
        assert podling(machine, "images", "--filter", f"manifest={value}", "--format", "{{.Repository}}").split() == shown
    assert podling(machine, "manifest", "remove", "ml", digest).strip() == listed
    assert podling(machine, "manifest", "rm", "ml") == f"Untagged: localhost/ml:latest\nDeleted: {listed}\n"


@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_a_pushed_list_serves_every_platform(machine: World, form: str) -> None:
    name = f"many-{form}"
    podling(machine, "manifest", "create", name)
    podling(machine, "manifest", "add", name, "bb")
    podling(machine, "manifest", "add", INSECURE, "--annotation", "from=there", name, f"docker://{HOST}/team/arm:1")
    assert podling(machine, "manifest", "push", "-q", INSECURE, "-f", form, "--digestfile", "/run/digest", name,
                   f"docker://{HOST}/out/{name}:2") == ""
    raw = machine.run("skopeo", "inspect", "--raw", INSECURE, f"docker://{HOST}/out/{name}:2").stdout
    assert machine.path("/run/digest").read_text() == f"sha256:{hashlib.sha256(raw.encode()).hexdigest()}"
    index = json.loads(raw)
    assert index["mediaType"] == {"oci": "application/vnd.oci.image.index.v1+json",
                                  "v2s2": "application/vnd.docker.distribution.manifest.list.v2+json"}[form]
    assert [entry["platform"]["architecture"] for entry in index["manifests"]] == ["amd64", "arm64"]
    assert ("annotations" in index["manifests"][1]) == (form == "oci")
    machine.run("skopeo", "copy", "--all", "--src-tls-verify=false", f"docker://{HOST}/out/{name}:2", f"dir:/run/copied-{form}")
    machine.podman("pull", "-q", INSECURE, f"{HOST}/out/{name}:2")
    pulled = podling(machine, "pull", "-q", INSECURE, "--arch", "arm64", f"{HOST}/out/{name}:2").strip()
    assert json.loads(podling(machine, "image", "inspect", pulled))[0]["Architecture"] == "arm64"
    assert "arm64" in podling(machine, "manifest", "inspect", INSECURE, f"docker://{HOST}/out/{name}:2")
    again = podling(machine, "manifest", "create", INSECURE, "--all", f"all-{form}", f"docker://{HOST}/out/{name}:2").strip()
    assert len(json.loads(podling(machine, "manifest", "inspect", again))["manifests"]) == 2
    podling(machine, "manifest", "push", "-q", "--rm", INSECURE, f"all-{form}", f"docker://{HOST}/again/{name}:1")
    assert machine.run("podling", "manifest", "exists", f"all-{form}", check=False).returncode == 1
    assert machine.run("skopeo", "inspect", "--raw", INSECURE, f"docker://{HOST}/again/{name}:1").stdout


def test_a_list_has_annotations_of_its_own(machine: World) -> None:
    podling(machine, "manifest", "create", "--annotation", "a=b", "noted", "bb")
    podling(machine, "manifest", "annotate", "--index", "--annotation", "c=d", "noted")
    digest = json.loads(podling(machine, "manifest", "inspect", "noted"))["manifests"][0]["digest"]
    podling(machine, "manifest", "annotate", "--arch", "arm64", "noted", digest)
    assert json.loads(podling(machine, "manifest", "inspect", "noted"))["annotations"] == {"a": "b", "c": "d"}
    podling(machine, "manifest", "push", "-q", INSECURE, "noted", f"docker://{HOST}/out/noted:1")
    podling(machine, "manifest", "push", "-q", "noted", "dir:/run/noted")
    for place in (f"docker://{HOST}/out/noted:1", "dir:/run/noted"):
        assert json.loads(machine.run("skopeo", "inspect", "--raw", INSECURE, place).stdout)["annotations"] == {"a": "b", "c": "d"}
    for wrong in (("--index", "--arch", "arm64", "noted"), ("--index", "noted", digest), ("--arch", "arm64", "noted")):
        assert machine.run("podling", "manifest", "annotate", *wrong, check=False).returncode == 125
    podling(machine, "manifest", "rm", "noted")


def test_a_list_is_written_to_directories_and_archives(machine: World) -> None:
    podling(machine, "manifest", "create", "placed", "bb")
    podling(machine, "manifest", "add", INSECURE, "placed", f"docker://{HOST}/team/arm:1")
    for place in ("dir:/run/listed", "oci:/run/layout:many", "oci-archive:/run/listed.tar:many"):
        podling(machine, "manifest", "push", "-q", INSECURE, "--digestfile", "/run/digest", "placed", place)
        raw = machine.run("skopeo", "inspect", "--raw", place).stdout
        assert f"sha256:{hashlib.sha256(raw.encode()).hexdigest()}" == machine.path("/run/digest").read_text()
        assert [entry["platform"]["architecture"] for entry in json.loads(raw)["manifests"]] == ["amd64", "arm64"]
        machine.run("skopeo", "copy", "--all", "--dest-tls-verify=false", place, f"docker://{HOST}/from/{place.partition(':')[0]}:1")
        machine.podman("pull", "-q", place)
        pulled = podling(machine, "pull", "-q", place).strip()
        assert json.loads(podling(machine, "image", "inspect", pulled))[0]["Architecture"] == "amd64"
    assert [name for name in os.listdir(machine.path("/run")) if name.startswith("listed.tar")] == ["listed.tar"]
    podling(machine, "push", "-q", "bb", "oci:/run/layout:alone")             # what is in the layout stays
    assert len(json.loads(machine.path("/run/layout/index.json").read_text())["manifests"]) == 2
    podling(machine, "manifest", "push", "-q", "--all=false", "placed", "dir:/run/bare")
    assert sorted(os.listdir(machine.path("/run/bare"))) == ["manifest.json", "version"]


@pytest.mark.parametrize("place", ["docker-archive:/run/no.tar:x", "containers-storage:foo"])
def test_what_holds_no_lists_is_named(machine: World, place: str) -> None:
    podling(machine, "manifest", "create", "--amend", "no", "bb")
    refused = machine.run("podling", "manifest", "push", "-q", "no", place, check=False)
    assert refused.returncode == 125
    assert (f'copying multiple images: destination transport "{place.partition(":")[0]}" does not support copying multiple images as a '
            "group") in refused.stderr
    signed = machine.run("podling", "manifest", "push", "-q", "--sign-by", "x@y", "no", "dir:/run/no", check=False)
    assert "Cannot determine canonical Docker reference for destination dir:/run/no" in signed.stderr


def test_instances_are_added_in_other_compressions(machine: World) -> None:
    podling(machine, "manifest", "create", "--amend", "both", "bb")
    podling(machine, "manifest", "push", "-q", INSECURE, "--add-compression", "zstd", "both", f"docker://{HOST}/out/both:1")
    listed = json.loads(machine.run("skopeo", "inspect", "--raw", INSECURE, f"docker://{HOST}/out/both:1").stdout)["manifests"]
    assert listed[1]["annotations"] == {"io.github.containers.compression.zstd": "true"}
    for entry, kind in zip(listed, ("gzip", "zstd"), strict=True):
        place = f"docker://{HOST}/out/both@{entry['digest']}"
        layers = json.loads(machine.run("skopeo", "inspect", "--raw", INSECURE, place).stdout)["layers"]
        assert [layer["mediaType"][-4:] for layer in layers] == [kind]
    podling(machine, "pull", "-q", INSECURE, f"{HOST}/out/both:1")


def test_a_list_stands_for_its_image_for_this_host(machine: World) -> None:
    podling(machine, "manifest", "create", "only", "bb")
    assert podling(machine, "run", "--rm", "--network", "none", "only", "echo", "ran") == "ran\n"
    assert podling(machine, "image", "inspect", "--format", "{{.Id}}", "only") == podling(
        machine, "image", "inspect", "--format", "{{.Id}}", "bb")
    podling(machine, "rmi", "only")
    assert machine.run("podling", "image", "exists", "bb", check=False).returncode == 0
    podling(machine, "manifest", "create", "empty")
    refused = machine.run("podling", "run", "--rm", "--network", "none", "empty", "true", check=False)
    assert refused.returncode == 125
    assert "is a manifest list without an image for this platform" in refused.stderr
    podling(machine, "manifest", "rm", "empty")


# --- search -----------------------------------------------------------------------------------------------------------


def test_search_finds_repositories_and_tags(machine: World) -> None:
    plain = "search --tls-verify=false"
    for question in (f"{plain} {HOST}/arm", f"{plain} --format {{{{.Index}}}}|{{{{.Name}}}} {HOST}/team",
                     f"{plain} --list-tags {HOST}/team/arm", f"{plain} --list-tags {HOST}/team/arm:1",
                     f"{plain} --list-tags --format json {HOST}/team/arm", "search",
                     f"{plain} --filter foo=3 {HOST}/arm", f"{plain} --filter stars=1 {HOST}/arm", f"{plain} --compatible {HOST}/arm",
                     f"{plain} {HOST}/nothing"):
        ours, theirs = ask(machine, question)
        assert ours[0] == theirs[0], question
        if "foo" not in question:
            assert ours == theirs, question


def test_search_asks_every_registry_that_short_names_mean(machine: World) -> None:
    machine.path("/etc/containers/registries.conf").write_text(
        f'unqualified-search-registries = ["{HOST}", "localhost:1"]\n[[registry]]\nlocation = "{HOST}"\ninsecure = true\n')
    assert f"{HOST}/team/arm" in podling(machine, "search", "team/arm")
    machine.path("/etc/containers/registries.conf").write_text("")
    assert machine.run("podling", "search", "team/arm", check=False).returncode == 125


def test_every_tag_is_pulled(machine: World) -> None:
    machine.run("skopeo", "copy", "--src-tls-verify=false", "--dest-tls-verify=false", f"docker://{HOST}/team/arm:1",
                f"docker://{HOST}/team/arm:2")
    podling(machine, "pull", "-q", "-a", INSECURE, "--arch", "arm64", "--variant", "v8", f"{HOST}/team/arm")
    names = podling(machine, "images", "--format", "{{.Repository}}:{{.Tag}}").split()
    assert {f"{HOST}/team/arm:1", f"{HOST}/team/arm:2"} <= set(names)


# --- system -----------------------------------------------------------------------------------------------------------


def test_df_counts_shared_layers_once_and_prune_frees_what_it_says(machine: World) -> None:
    podling(machine, "create", "--name", "user", "-v", "kept:/data", "--network", "none", "bb", "true")
    podling(machine, "tag", "bb", "second/name")
    rows = json.loads(podling(machine, "system", "df", "--format", "json"))
    assert [row["Type"] for row in rows] == ["Images", "Containers", "Local Volumes"]
    images, containers, volumes = rows
    assert images["Active"] == 1
    assert images["RawSize"] < 2_200_000 + images["RawReclaimable"]
    assert (containers["Total"], containers["Active"], volumes["Total"], volumes["Active"]) == (1, 0, 1, 1)
    assert podling(machine, "system", "df").splitlines()[0].split() == ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
    assert "SHARED SIZE" in podling(machine, "system", "df", "-v")
    answer = machine.run("podling", "system", "prune", stdin=b"n\n").stdout
    assert answer == machine.podman("system", "prune", stdin=b"n\n").stdout
    assert machine.run("podling", "system", "prune", "-f", "--filter", "foo=bar", check=False).stderr.startswith(
        "Error: foo is an invalid filter")
    done = podling(machine, "system", "prune", "-f", "-a", "--volumes")
    assert "Deleted Containers" in done
    assert "Deleted Images" in done
    assert done.splitlines()[-1].startswith("Total reclaimed space: ")
    assert [row["Total"] for row in json.loads(podling(machine, "system", "df", "--format", "json"))] == [0, 0, 0]
