"""Artifacts: files in an OCI layout and in a registry; what Podman 5.4 writes for the same files, byte for byte; skopeo reads it."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.sandbox import new_world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sandbox import World

HOST = "localhost:5000"
CONFIG = "version: 0.1\nstorage: {filesystem: {rootdirectory: /run/registry}}\nhttp: {addr: 127.0.0.1:5000}\n"
ROOT = "/var/lib/containers/podling/artifacts"
# `podman artifact add quay.io/x/art:1 a.txt` of Podman 5.4.2, where a.txt is "hello\n"
DIGEST = "c2918a17a6d6989c11332c4543e2d1cce59ff1b600580a3541d945f42ff35bc8"
INDEX = ('{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":'
         '"application/vnd.oci.image.manifest.v1+json","digest":"sha256:' + DIGEST + '","size":443,"annotations":'
         '{"org.opencontainers.image.ref.name":"quay.io/x/art:1"}}]}')


@pytest.fixture(scope="module")
def machine() -> Iterator[World]:
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed")
    world = new_world()
    world.path("/run/registry.yml").write_text(CONFIG)
    world.path("/run/a.txt").write_text("hello\n")
    world.path("/run/b.json").write_text('{"a":1}')
    world.path("/run/c.bin").write_bytes(b"\x00\x01" * 700_000)
    server = world.spawn("docker-registry", "serve", "/run/registry.yml", stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    yield world
    server.kill()
    server.wait()
    world.close()


def podling(world: World, *argv: str) -> str:
    return world.run("podling", "artifact", *argv).stdout


def refusal(world: World, *argv: str) -> str:
    done = world.run("podling", "artifact", *argv, check=False)
    assert done.returncode == 125
    return done.stderr


def push(world: World, *argv: str) -> None:
    world.wait_until(lambda: world.run("podling", "artifact", "push", "-q", "--retry", "0", "--tls-verify=false", *argv,
                                       check=False).returncode == 0, "the registry answers")


def test_an_artifact_is_the_one_that_podman_makes(machine: World) -> None:
    assert podling(machine, "add", "quay.io/x/art:1", "/run/a.txt") == f"{DIGEST}\n"
    assert machine.path(f"{ROOT}/index.json").read_text() == INDEX
    assert machine.path(f"{ROOT}/oci-layout").read_text() == '{"imageLayoutVersion":"1.0.0"}'
    assert podling(machine, "ls") == ("REPOSITORY     TAG         DIGEST        SIZE\n"
                                      "quay.io/x/art  1           c2918a17a6d6  6B\n")
    assert "artifact quay.io/x/art:1 already exists" in refusal(machine, "add", "quay.io/x/art:1", "/run/b.json")
    assert "no artifact found with name or digest of nope" in refusal(machine, "inspect", "nope")
    shape = json.loads(podling(machine, "inspect", "quay.io/x/art:1"))
    assert list(shape) == ["Manifest", "Name", "Digest"]
    assert podling(machine, "rm", "quay.io/x/art:1") == f"{DIGEST}\n"
    assert sorted(machine.run("ls", f"{ROOT}/blobs/sha256").stdout.split()) == [
        "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"]


def test_files_go_to_a_registry_and_come_back(machine: World) -> None:
    name = f"{HOST}/files/some:1"
    podling(machine, "add", "--type", "application/x.foo", "--annotation", "k=v", name, "/run/a.txt", "/run/c.bin")
    podling(machine, "add", "--append", "--file-type", "application/json", name, "/run/b.json")
    push(machine, "--digestfile", "/run/digest", name)
    raw = json.loads(machine.run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{name}").stdout)
    assert raw["artifactType"] == "application/x.foo"
    assert [layer["mediaType"] for layer in raw["layers"]] == ["text/plain; charset=utf-8", "application/octet-stream", "application/json"]
    assert raw["layers"][0]["annotations"] == {"k": "v", "org.opencontainers.image.title": "a.txt"}
    digest = podling(machine, "rm", "--all").strip()
    assert machine.path("/run/digest").read_text() == f"sha256:{digest}"
    assert podling(machine, "pull", "-q", "--tls-verify=false", name).strip() == digest
    machine.run("mkdir", "/run/out")
    podling(machine, "extract", name, "/run/out")
    assert sorted(machine.run("ls", "/run/out").stdout.split()) == ["a.txt", "b.json", "c.bin"]
    assert machine.path("/run/out/c.bin").read_bytes() == machine.path("/run/c.bin").read_bytes()
    podling(machine, "extract", "--title", "b.json", name, "/run/only")
    assert machine.path("/run/only").read_text() == '{"a":1}'
    assert "consists of several blobs" in refusal(machine, "extract", name, "/run/new")
    assert "no blob with the title" in refusal(machine, "extract", "--title", "zzz", name, "/run/out")
    assert "manifest unknown" in refusal(machine, "pull", "-q", "--tls-verify=false", f"{HOST}/files/some:2")


def test_the_policy_is_asked_and_wrong_bytes_are_refused(machine: World) -> None:
    name = f"{HOST}/files/other:1"
    machine.path("/run/d.txt").write_text("to be damaged\n")
    podling(machine, "add", name, "/run/d.txt")
    push(machine, name)
    policy = machine.path("/etc/containers/policy.json")
    before = policy.read_text()
    policy.write_text('{"default": [{"type": "reject"}]}')
    assert "rejected by policy" in refusal(machine, "pull", "-q", "--tls-verify=false", name)
    policy.write_text(before)
    podling(machine, "rm", "-a")
    blob = machine.run("sh", "-c", "grep -l damaged $(find /run/registry -name data)").stdout.split()[0]
    machine.path(blob).write_text("2 be damaged!\n")
    assert "does not match its digest" in refusal(machine, "pull", "-q", "--tls-verify=false", "--retry", "0", name)
    assert podling(machine, "ls", "-n") == ""
