"""Encrypted layers: skopeo decrypts ours, we decrypt its, and without the right key nothing comes in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.busybox import busybox_archive
from tests.support.images import simple_image
from tests.support.sandbox import CHECKOUT, new_world
from tests.support.signing import world_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sandbox import World

HOST = "localhost:5000"
NEWER = CHECKOUT / ".cache/skopeo/skopeo"
newer = pytest.mark.skipif(not NEWER.exists(), reason="scripts/newer-skopeo has not been run")
KEYS = {"rsa": ("rsa", "rsa_keygen_bits:2048"), "ec": ("ec", "ec_paramgen_curve:P-256"), "other": ("rsa", "rsa_keygen_bits:2048")}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world with a registry, keys in /run, and busybox and an image of two layers in podling's store."""
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed")
    world, base = new_world(), tmp_path_factory.mktemp("encryption")
    server = world_registry(world)
    for name, (kind, option) in KEYS.items():
        world.run("openssl", "genpkey", "-algorithm", kind, "-pkeyopt", option, "-out", f"/run/{name}.pem")
        world.run("openssl", "pkey", "-in", f"/run/{name}.pem", "-pubout", "-out", f"/run/{name}.pub")
    world.run("openssl", "rsa", "-in", "/run/rsa.pem", "-aes256", "-passout", "pass:secret", "-traditional", "-out", "/run/locked.pem")
    simple_image({"etc/a": b"1" * 1000, "usr/big": os.urandom(9_000_000)}, {"etc/b": b"2" * 3000}).write_layout(base / "layout", "two")
    world.run("podling", "pull", "-q", f"oci:{base / 'layout'}:two")
    world.run("podling", "load", "-q", "-i", str(busybox_archive(base)))
    yield world
    server.kill()
    server.wait()
    world.close()


def layers(world: World, name: str) -> list[dict[str, object]]:
    raw = world.run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{HOST}/{name}").stdout
    found: list[dict[str, object]] = json.loads(raw)["layers"]
    return found


def push(world: World, name: str, target: str, *options: str) -> None:
    world.run("podling", "push", "-q", "--tls-verify=false", *options, name, f"{HOST}/{target}")


@pytest.mark.parametrize(("skopeo", "key"), [  # 1.9 reads no EC keys in PKCS #8
    ("skopeo", "rsa"), pytest.param(str(NEWER), "rsa", marks=newer), pytest.param(str(NEWER), "ec", marks=newer)])
def test_skopeo_decrypts_what_we_encrypt(machine: World, skopeo: str, key: str) -> None:
    push(machine, "localhost/two", f"{key}:1", "--encryption-key", f"jwe:/run/{key}.pub", "--encryption-key", "jwe:/run/other.pub")
    assert {layer["mediaType"] for layer in layers(machine, f"{key}:1")} == {"application/vnd.oci.image.layer.v1.tar+gzip+encrypted"}
    for private in (key, "other"):
        machine.run(skopeo, "copy", "--src-tls-verify=false", "--decryption-key", f"/run/{private}.pem", f"docker://{HOST}/{key}:1",
                    f"dir:/run/plain-{private}")
        described = json.loads(machine.path(f"/run/plain-{private}/manifest.json").read_text())
        assert {layer["mediaType"] for layer in described["layers"]} == {"application/vnd.oci.image.layer.v1.tar+gzip"}


@pytest.mark.parametrize("skopeo", ["skopeo", pytest.param(str(NEWER), marks=newer)])
def test_we_decrypt_what_skopeo_encrypts(machine: World, skopeo: str) -> None:
    machine.run("podling", "push", "-q", "bb", "oci:/run/layout:bb")
    machine.run(skopeo, "copy", "--dest-tls-verify=false", "--encryption-key", "jwe:/run/rsa.pub", "oci:/run/layout:bb",
                f"docker://{HOST}/theirs:1")
    assert str(layers(machine, "theirs:1")[0]["mediaType"]).endswith("+encrypted")
    machine.run("podling", "rmi", "-f", "bb")
    for key in ("/run/rsa.pem", "/run/locked.pem:secret", "/run/locked.pem:file=/run/pass"):
        machine.path("/run/pass").write_text("secret\n")
        machine.run("podling", "pull", "-q", "--tls-verify=false", "--decryption-key", "/run/other.pem", "--decryption-key", key,
                    f"{HOST}/theirs:1")
        done = machine.run("podling", "run", "--rm", "--network", "none", f"{HOST}/theirs:1", "echo", "read")
        assert done.stdout == "read\n"
        machine.run("podling", "rmi", "-f", f"{HOST}/theirs:1")
    done = machine.run("podling", "run", "-q", "--rm", "--network", "none", "--tls-verify=false", "--decryption-key", "/run/rsa.pem",
                       f"{HOST}/theirs:1", "echo", "run")
    assert done.stdout == "run\n"
    machine.run("podling", "pull", "-q", "oci:/run/layout:bb")
    machine.run("podling", "tag", "localhost/bb", "bb")


@newer
def test_we_decrypt_what_came_out_of_a_store(machine: World) -> None:
    """As ``podman push`` sends it: compressed on the way, with the digest of before beside the key."""
    machine.path("/run/storage.conf").write_text(
        '[storage]\ndriver = "overlay"\nrunroot = "/run/skopeo-run"\ngraphroot = "/run/skopeo-graph"\n'
        '[storage.options]\npull_options = {enable_partial_images = "true"}\n')
    env = {"CONTAINERS_STORAGE_CONF": "/run/storage.conf"}
    push(machine, "localhost/two", "parts:1", "--compression-format", "zstd:chunked", "--force-compression")
    machine.run(str(NEWER), "copy", "--src-tls-verify=false", f"docker://{HOST}/parts:1", "containers-storage:localhost/two:1", env=env)
    machine.run(str(NEWER), "copy", "--dest-tls-verify=false", "--encryption-key", "jwe:/run/rsa.pub",
                "containers-storage:localhost/two:1", f"docker://{HOST}/stored:1", env=env)
    assert str(layers(machine, "stored:1")[0]["mediaType"]).endswith("+encrypted")
    machine.run("podling", "rmi", "-f", "localhost/two")
    machine.run("podling", "pull", "-q", "--tls-verify=false", "--decryption-key", "/run/rsa.pem", f"{HOST}/stored:1")
    machine.run("podling", "tag", f"{HOST}/stored:1", "localhost/two")
    machine.run("podling", "untag", f"{HOST}/stored:1", f"{HOST}/stored:1")


def test_without_the_key_nothing_comes_in(machine: World) -> None:
    push(machine, "localhost/two", "secret:1", "--encryption-key", "jwe:/run/rsa.pub")
    before = machine.run("podling", "images", "-qa").stdout
    pull = ("podling", "pull", "-q", "--tls-verify=false")
    for options, words in (((), "missing private key needed for decryption"),
                           (("--decryption-key", "/run/other.pem"), "none of the private keys could be used for decryption"),
                           (("--decryption-key", "/run/locked.pem"), "the key is protected by a passphrase"),
                           (("--decryption-key", "/run/locked.pem:wrong"), "no private key that can be read with this passphrase"),
                           (("--decryption-key", "/run/rsa.pub"), "is no private key"),
                           (("--decryption-key", "/run/nowhere"), "unable to read file /run/nowhere")):
        refused = machine.run(*pull, *options, f"{HOST}/secret:1", check=False)
        assert refused.returncode == 125
        assert words in refused.stderr
        if not options:
            assert "--decryption-key" in refused.stderr
    assert machine.run("podling", "images", "-qa").stdout == before


def test_some_layers_only_and_other_places(machine: World) -> None:
    push(machine, "localhost/two", "some:1", "--encryption-key", "jwe:/run/rsa.pub", "--encrypt-layer", "-1", "--compression-format",
         "zstd:chunked", "--force-compression")
    kinds = [str(layer["mediaType"]).partition("+")[2] for layer in layers(machine, "some:1")]
    assert kinds == ["zstd", "zstd+encrypted"]
    machine.run("podling", "push", "-q", "--encryption-key", "jwe:/run/ec.pub", "localhost/two", "oci:/run/locked:two")
    refused = machine.run("podling", "pull", "-q", "oci:/run/locked:two", check=False)
    assert "missing private key" in refused.stderr
    machine.run("podling", "rmi", "-f", "localhost/two")
    machine.run("podling", "pull", "-q", "--tls-verify=false", "--decryption-key", "/run/rsa.pem", f"{HOST}/some:1")
    machine.run("podling", "rmi", "-f", f"{HOST}/some:1")
    machine.run("podling", "pull", "-q", "--decryption-key", "/run/ec.pem", "oci:/run/locked:two")


def test_what_cannot_be_is_refused_in_words(machine: World) -> None:
    for options, words in ((("--encrypt-layer", "0"), "--encrypt-layer can only be used with --encryption-key"),
                           (("--encrypt-layer", "x"), "is no number of a layer"),
                           (("--encryption-key", "/run/rsa.pub"), "it names no protocol"),
                           (("--encryption-key", "pgp:me@example.org"), "not encrypted by pgp:"),
                           (("--encryption-key", "jwe:/run/rsa.pem"), "is not a public key"),
                           (("--encryption-key", "jwe:/run/rsa.pub", "--format", "v2s2"), "--format oci")):
        refused = machine.run("podling", "push", *options, "localhost/two", f"{HOST}/no:1", check=False)
        assert refused.returncode == 125, options
        assert words in refused.stderr
    for place in ("docker-archive:/run/no.tar", "oci-archive:/run/no.tar", "containers-storage:no", "docker-daemon:no:1"):
        refused = machine.run("podling", "push", "--encryption-key", "jwe:/run/rsa.pub", "localhost/two", place, check=False)
        assert f"layers are not encrypted for the transport {place.partition(':')[0]}:" in refused.stderr
    assert machine.run("podling", "image", "exists", "localhost/no", check=False).returncode == 1


def test_a_changed_layer_is_not_taken(machine: World) -> None:
    machine.run("podling", "push", "-q", "--encryption-key", "jwe:/run/rsa.pub", "localhost/two", "dir:/run/changed")
    described = json.loads(machine.path("/run/changed/manifest.json").read_text())
    layer = described["layers"][1]
    assert layer["mediaType"].endswith("+encrypted")
    file = machine.path(f"/run/changed/{layer['digest'][7:]}")
    data = bytearray(file.read_bytes())
    data[3] ^= 1
    new = subprocess.run(["sha256sum"], input=bytes(data), capture_output=True, check=True).stdout.split()[0].decode()
    machine.path(f"/run/changed/{new}").write_bytes(bytes(data))
    layer["digest"] = f"sha256:{new}"
    machine.path("/run/changed/manifest.json").write_text(json.dumps(described))
    machine.run("podling", "rmi", "-f", "localhost/two")
    refused = machine.run("podling", "pull", "-q", "--decryption-key", "/run/rsa.pem", "dir:/run/changed", check=False)
    assert refused.returncode == 125
    assert machine.run("podling", "images", "-q", "two").stdout == ""


@pytest.mark.parametrize("skopeo", ["skopeo", pytest.param(str(NEWER), marks=newer)])
def test_an_artifact_is_kept_decrypted(machine: World, skopeo: str) -> None:
    """As by Podman 5.4: with a key the files are plain and the manifest that of before, without one all is kept as it is."""
    def described(name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(machine.run("podling", "artifact", "inspect", name).stdout)["Manifest"]
        return found

    name, sealed = f"{HOST}/files:plain", f"{HOST}/files:sealed"
    machine.path("/run/a.tar").write_bytes(os.urandom(3_000_000))
    machine.path("/run/b.txt").write_text("not secret\n")
    kind = "application/vnd.oci.image.layer.v1.tar"
    machine.run("podling", "artifact", "add", "--type", "application/x.foo", "--annotation", "k=v", "--file-type", kind, name, "/run/a.tar")
    digest = machine.run("podling", "artifact", "add", "--append", name, "/run/b.txt").stdout
    machine.run("podling", "artifact", "push", "-q", "--tls-verify=false", name)
    files = described(name)["layers"]
    machine.run("podling", "artifact", "rm", name)
    machine.run(skopeo, "copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--encryption-key", "jwe:/run/rsa.pub",
                "--encrypt-layer", "0", f"docker://{name}", f"docker://{sealed}")
    pull = ("podling", "artifact", "pull", "-q", "--tls-verify=false")
    for key, words in (("/run/other.pem", "none of the private keys could be used for decryption"),
                       ("/run/nowhere", "unable to read file /run/nowhere")):
        refused = machine.run(*pull, "--decryption-key", key, sealed, check=False)
        assert (refused.returncode, words in refused.stderr) == (125, True), refused.stderr
    assert machine.run("podling", "artifact", "ls", "-n").stdout == ""
    assert machine.run(*pull, sealed).stdout != digest
    entry = described(sealed)["layers"][0]
    assert entry["mediaType"] == f"{kind}+encrypted"
    for key in ("/run/rsa.pem", "/run/locked.pem:secret"):
        pulled = machine.run(*pull, "--decryption-key", "/run/other.pem", "--decryption-key", key, sealed).stdout
        assert described(sealed)["layers"][0] == files[0]
        assert pulled == digest or skopeo == "skopeo", "skopeo 1.9 leaves out artifactType and other annotations"
    machine.run("podling", "artifact", "extract", "--title", "a.tar", sealed, "/run/a.plain")
    machine.run("podling", "artifact", "extract", "--digest", files[1]["digest"], sealed, "/run/b.plain")
    machine.run("cmp", "/run/a.tar", "/run/a.plain")
    machine.run("cmp", "/run/b.txt", "/run/b.plain")
    machine.run("podling", "artifact", "rm", sealed)
    found = machine.run("find", "/run", "-path", f"*/{entry['digest'][7:]}/data").stdout.strip()
    data = machine.path(found)
    data.write_bytes(bytes(reversed(data.read_bytes())))
    refused = machine.run(*pull, "--retry", "0", "--decryption-key", "/run/rsa.pem", sealed, check=False)
    assert (refused.returncode, "does not match its digest" in refused.stderr) == (125, True), refused.stderr
    assert machine.run("podling", "artifact", "ls", "-n").stdout == ""
