"""Pulling from Debian's docker-registry, and from a server that misbehaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from podling.errors import Corrupt, NotFound, NotInRegistry, PodlingError, RegistryError, Unauthorized, explain
from podling.image.registry.client import Registry
from podling.model import Platform
from tests.support import registry as registries
from tests.support.hostile import HostileRegistry, Reply
from tests.support.images import DOCKER_LIST, OCI_INDEX, TestImage, sha256, simple_image, tar
from tests.support.pulling import await_, puller
from tests.support.registry import PASSWORD, USER, RunningRegistry, registry
from tests.support.stores import Store, store

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["registry", "store"]
LOWER, UPPER = {"etc/a": b"lower", "etc/b": b"b" * 5000}, {"etc/a": b"upper", "usr/c": os.urandom(300_000)}


def put(server: RunningRegistry, tmp_path: Path, image: TestImage, name: str, *, login: bool = False) -> None:
    """Let skopeo put an image into a registry as it is."""
    directory = tmp_path / "layout" / name.replace("/", "_").replace(":", "_")
    image.write_directory(directory)
    server.skopeo("copy", "--preserve-digests", f"dir:{directory}", f"docker://{server.host}/{name}", login=login)


def serve(server: HostileRegistry, image: TestImage, name: str = "some/image", tag: str = "1") -> str:
    server.add_image(name, tag, image.blobs, image.manifest, image.media_type)
    return f"{server.host}/{name}:{tag}"


@pytest.fixture(params=["processes", "threads"])
def hostile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileRegistry]:
    """A scripted registry; layers are brought by workers of both kinds, although this process has threads."""
    with HostileRegistry() as server:
        # TLS is tried first; the scripted server would wait for the end of a line in the greeting
        monkeypatch.setattr(Registry, "_ping", lambda self: self._ping_scheme("http"))
        if request.param == "processes":
            monkeypatch.setattr(threading, "active_count", lambda: 1)
        yield server


# --- what is pulled is what was pushed --------------------------------------------------------------------------------


@pytest.mark.parametrize(("docker", "compression"), [(False, "gzip"), (False, "zstd"), (False, ""), (True, "gzip"), (True, "")])
def test_an_image_keeps_its_digests(registry: RunningRegistry, store: Store, tmp_path: Path, docker: bool,
                                    compression: str) -> None:
    image = simple_image(LOWER, UPPER, compression=compression, docker=docker)
    name = f"pull/{'docker' if docker else 'oci'}{compression}:1"
    put(registry, tmp_path, image, name)
    said = json.loads(registry.skopeo("inspect", f"docker://{registry.host}/{name}"))
    pulled = store.pull(f"{registry.host}/{name}")
    assert pulled.digest == said["Digest"] == image.digest
    assert pulled.id == image.id
    assert pulled.names == (f"{registry.host}/{name}",)
    assert pulled.repo_digests == (f"{registry.host}/{name[:-2]}@{image.digest}",)
    assert store.tree(pulled) == {"etc/a": b"upper", "etc/b": b"b" * 5000, "usr/c": UPPER["usr/c"]}
    assert store.leftovers() == []


def test_layers_that_are_there_are_not_downloaded(registry: RunningRegistry, store: Store, tmp_path: Path) -> None:
    one, two = simple_image(LOWER, UPPER, compression="gzip"), simple_image(LOWER, {"new": b"1"}, compression="zstd")
    put(registry, tmp_path, one, "shared/one:1")
    put(registry, tmp_path, two, "shared/two:1")
    store.pull(f"{registry.host}/shared/one:1")
    registry.forget_log()
    store.pull(f"{registry.host}/shared/two:1")
    assert len(registry.requests("GET", "/v2/shared/two/blobs/")) == 2  # the configuration and the new layer
    assert store.database.row("SELECT count(*) FROM layers") == (3,)
    registry.forget_log()
    store.pull(f"{registry.host}/shared/two:1")
    assert len(registry.requests("GET", "/v2/shared/two/blobs/")) == 1


def test_progress_tells_each_blob(registry: RunningRegistry, store: Store, tmp_path: Path) -> None:
    image = simple_image(LOWER, UPPER)
    put(registry, tmp_path, image, "progress:1")
    store.pull(f"{registry.host}/progress:1")
    texts = [fields["text"] for kind, fields in store.events if kind == "message"]
    assert texts == ["Getting image source signatures", "Writing manifest to image destination", "Storing signatures"]
    labels = {fields["key"]: fields["label"] for kind, fields in store.events if kind == "begin"}
    assert labels == {"0": f"Copying blob {image.layers[0][7:19]}", "1": f"Copying blob {image.layers[1][7:19]}",
                      "config": f"Copying config {image.id[:10]}"}
    assert {fields["key"]: fields["result"] for kind, fields in store.events if kind == "end"} == dict.fromkeys(labels, "done")
    totals = {fields["key"]: fields["total"] for kind, fields in store.events if kind == "begin"}
    assert totals["1"] == len(image.blobs[image.layers[1]])


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
def test_an_index_gives_the_platform_that_is_wanted(hostile: HostileRegistry, store: Store, media_type: str) -> None:
    images = {name: simple_image({"arch": name.encode()}, architecture=name.partition("/")[0], variant=name.partition("/")[2])
              for name in ("amd64", "arm64/v8", "arm/v6", "arm/v7")}
    for image in images.values():
        hostile.add_image("multi", image.digest, image.blobs, image.manifest, image.media_type)
    index = json.dumps({"schemaVersion": 2, "mediaType": media_type,
                        "manifests": [image.descriptor for image in images.values()]}).encode()
    hostile.manifests["multi", "1"] = (index, media_type)
    for asked, expected in (("arm64", "arm64/v8"), ("amd64", "amd64")):
        pulled = store.pull(f"{hostile.host}/multi:1", platform=Platform(os="linux", architecture=asked))
        assert pulled.id == images[expected].id
        assert {stored.digest for stored in store.images.manifests(pulled)} == {sha256(index), images[expected].digest}
        assert f"{hostile.host}/multi@{sha256(index)}" in pulled.repo_digests
    pulled = store.pull(f"{hostile.host}/multi:1", platform=Platform(os="linux", architecture="arm", variant="v7"))
    assert pulled.id == images["arm/v7"].id
    with pytest.raises(NotFound, match='architecture "s390x"'):
        store.pull(f"{hostile.host}/multi:1", platform=Platform(os="linux", architecture="s390x"))


def test_an_empty_image_is_an_image(registry: RunningRegistry, store: Store, tmp_path: Path) -> None:
    put(registry, tmp_path, simple_image(), "empty:1")
    assert store.images.layer_directories(store.pull(f"{registry.host}/empty:1").id) == []


def test_the_same_layer_twice_is_one_layer(registry: RunningRegistry, store: Store, tmp_path: Path) -> None:
    put(registry, tmp_path, simple_image(LOWER, UPPER, LOWER), "twice:1")
    pulled = store.pull(f"{registry.host}/twice:1")
    assert len(store.images.layer_directories(pulled.id)) == 3
    assert store.tree(pulled)["etc/a"] == b"lower"
    assert store.database.row("SELECT count(*) FROM layers") == (2,)


def test_layers_that_leave_out_their_directories(registry: RunningRegistry, store: Store, tmp_path: Path) -> None:
    import tarfile

    private = tarfile.TarInfo("secret")
    private.type, private.mode, private.uid = tarfile.DIRTYPE, 0o700, 1234
    layers = [tar([(private, b"")]), tar([(tarfile.TarInfo("secret/key"), b"1")]), tar([(tarfile.TarInfo("secret/more"), b"2")])]
    put(registry, tmp_path, TestImage(layers), "parents:1")
    pulled = store.pull(f"{registry.host}/parents:1")
    for directory in store.images.layer_directories(pulled.id):
        status = os.stat(f"{directory}/secret")
        assert (status.st_mode & 0o7777, status.st_uid) == (0o700, 1234)


# --- ways of getting in -----------------------------------------------------------------------------------------------


def test_tls_needs_a_ca_that_is_known(store: Store, tmp_path: Path) -> None:
    with registries.serve(tmp_path / "tls", tls=True) as server:
        put(server, tmp_path, simple_image(LOWER), "x:1")
        with pytest.raises(RegistryError) as failure:
            store.pull(f"{server.host}/x:1", insecure=False)
        assert "tls: failed to verify certificate: " in explain(failure.value)
        certificates = tmp_path / "certs"
        certificates.mkdir()
        (certificates / "ca.crt").write_bytes(server.ca.read_bytes())  # type: ignore[union-attr]
        assert store.pull(f"{server.host}/x:1", insecure=False, cert_dir=str(certificates)).id
        assert store.pull(f"{server.host}/x:1", insecure=True).id


def test_a_client_certificate_opens_the_door(store: Store, tmp_path: Path) -> None:
    with registries.serve(tmp_path / "tls", tls=True, client_certificates=True) as server:
        certificates = tmp_path / "certs"
        certificates.mkdir()
        (certificates / "ca.crt").write_bytes(server.ca.read_bytes())  # type: ignore[union-attr]
        with pytest.raises(RegistryError):
            store.pull(f"{server.host}/x:1", insecure=False, cert_dir=str(certificates), retries=0)
        for name in ("client.cert", "client.key"):
            (certificates / name).write_bytes((tmp_path / "tls/tls" / name).read_bytes())
        with pytest.raises(NotInRegistry):
            store.pull(f"{server.host}/x:1", insecure=False, cert_dir=str(certificates))
        (certificates / "client.key").unlink()
        with pytest.raises(PodlingError, match=r"missing key client\.key"):
            store.pull(f"{server.host}/x:1", insecure=False, cert_dir=str(certificates))


def test_plain_http_is_refused_unless_it_is_allowed(registry: RunningRegistry, store: Store) -> None:
    with pytest.raises(RegistryError) as failure:
        store.pull(f"{registry.host}/x:1", insecure=False)
    assert explain(failure.value) == (f'pinging container registry {registry.host}: Get "https://{registry.host}/v2/": '
                                      "http: server gave HTTP response to HTTPS client")


def test_a_password_is_asked_for(store: Store, tmp_path: Path) -> None:
    with registries.serve(tmp_path / "basic", login="basic") as server:
        put(server, tmp_path, simple_image(LOWER), "x:1", login=True)
        with pytest.raises(Unauthorized) as failure:
            store.pull(f"{server.host}/x:1")
        assert "authentication required (status 401)" in explain(failure.value)
        with pytest.raises(Unauthorized):
            store.pull(f"{server.host}/x:1", login=(USER, "wrong"))
        assert store.pull(f"{server.host}/x:1", login=(USER, PASSWORD)).id


def test_tokens_are_fetched_once_and_for_what_is_needed(store: Store, tmp_path: Path) -> None:
    with registries.serve(tmp_path / "token", login="token") as server:
        put(server, tmp_path, simple_image(LOWER, UPPER, {"third": b"3"}), "public/x:1", login=True)
        put(server, tmp_path, simple_image(LOWER), "private/x:1", login=True)
        assert store.pull(f"{server.host}/public/x:1").id
        with pytest.raises(Unauthorized) as failure:
            store.pull(f"{server.host}/private/x:1")
        assert f"{server.host}/private/x" in explain(failure.value)
        assert store.pull(f"{server.host}/private/x:1", login=(USER, PASSWORD)).id
        with pytest.raises(Unauthorized, match="reading manifest") as failure:
            store.pull(f"{server.host}/private/x:1", login=(USER, "wrong"))
        assert "invalid username/password: incorrect username or password" in explain(failure.value)


def test_one_token_does_for_all_layers(hostile: HostileRegistry, store: Store) -> None:
    name = serve(hostile, simple_image(*[{f"file{number}": b"x"} for number in range(6)]))
    hostile.script["GET /v2/"] = [Reply(status=401, headers={
        "WWW-Authenticate": f'Bearer realm="http://{hostile.host}/token",service="s"'})]
    hostile.script["GET /token"] = [Reply(status=200, body=b'{"token": "abc"}') for _ in range(20)]
    store.pull(name)
    assert len(hostile.asked("GET /token")) == 1
    assert {request.headers.get("authorization") for request in hostile.asked("GET /v2/some/image")} == {"Bearer abc"}


# --- what must not break it -------------------------------------------------------------------------------------------


def big_layer(seed: int = 0) -> dict[str, bytes]:
    return {f"data{seed}-{number}": os.urandom(400_000) for number in range(6)}


def test_a_download_that_breaks_is_continued(hostile: HostileRegistry, store: Store) -> None:
    image = simple_image(big_layer())
    name = serve(hostile, image)
    hostile.script[f"GET {image.layers[0]}"] = [Reply(cut_after=1_000_000), Reply(cut_after=500_000)]
    store.pull(name)
    ranges = [request.headers.get("range") for request in hostile.asked(f"GET /v2/some/image/blobs/{image.layers[0]}")]
    assert ranges == [None, "bytes=1000000-", "bytes=1500000-"]
    assert store.leftovers() == []


def test_a_failed_pull_leaves_only_what_is_continued(hostile: HostileRegistry, store: Store) -> None:
    image = simple_image(big_layer(1), big_layer(2), big_layer(3))
    name = serve(hostile, image)
    hostile.script[f"GET {image.layers[1]}"] = [Reply(cut_after=1_000_000), *[Reply(status=500) for _ in range(9)]]
    with pytest.raises(RegistryError) as failure:
        store.pull(name)
    assert image.layers[1] in explain(failure.value)
    assert store.images.list() == []
    assert f"{image.layers[1][7:]}.partial" in store.partials()
    assert not [entry for entry in store.leftovers() if ".tmp" in entry]
    hostile.script.clear()
    hostile.requests.clear()
    store.pull(name)
    ranges = [request.headers.get("range") for request in hostile.asked(f"GET /v2/some/image/blobs/{image.layers[1]}")]
    assert ranges == ["bytes=1000000-"]
    assert store.leftovers() == []


def test_a_spoilt_partial_download_begins_anew(hostile: HostileRegistry, store: Store) -> None:
    image = simple_image(big_layer())
    name = serve(hostile, image)
    for spoilt in (b"\0" * 1_000_000, image.blobs[image.layers[0]][:1000] + b"\0" * 100_000, os.urandom(5_000_000)):
        path = store.path / "blobs/sha256" / f"{image.layers[0][7:]}.partial"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(spoilt)
        pulled = store.pull(name)
        assert store.leftovers() == []
        store.images.remove(pulled)


@pytest.mark.parametrize(("change", "words"), [
    (lambda blob: blob[:-1] + b"x", "does not match its digest"),
    (lambda blob: b"y" * len(blob), "tar header"),
    (lambda blob: blob + b"x", "the manifest says"),
    (lambda blob: blob[:-1], "the manifest says"),
])
def test_a_layer_that_is_another_is_refused(hostile: HostileRegistry, store: Store, change, words: str) -> None:  # type: ignore[no-untyped-def]
    image = simple_image(LOWER, UPPER)
    name = serve(hostile, image)
    hostile.blobs[image.layers[1]] = change(image.blobs[image.layers[1]])
    with pytest.raises(Corrupt) as failure:
        store.pull(name, retries=0)
    assert words in explain(failure.value) or "stream is broken" in explain(failure.value)
    assert store.images.list() == []
    assert f"{image.layers[1][7:]}.partial" not in store.partials()     # the good layer's may stay, to be resumed
    assert not [entry for entry in store.leftovers() if ".tmp" in entry]


def test_a_layer_with_another_diff_id_than_the_configuration_says_is_refused(hostile: HostileRegistry, store: Store) -> None:
    good, other = simple_image(LOWER), simple_image(UPPER)
    manifest = json.loads(good.manifest)
    manifest["layers"] = json.loads(other.manifest)["layers"]
    hostile.add_image("x", "1", {**good.blobs, **other.blobs}, json.dumps(manifest).encode(), good.media_type)
    with pytest.raises(Corrupt, match="does not match its digest"):
        store.pull(f"{hostile.host}/x:1")
    assert store.images.list() == []
    assert store.partials() == []


@pytest.mark.parametrize(("config", "words"), [
    (b"not json", "not JSON"), (b"[]", "an object"), (b'{"rootfs": {"diff_ids": []}}', "names 0 layers, its manifest 1"),
    (b'{"rootfs": {"diff_ids": ["../../etc"]}}', "diff_ids"), (b'{"config": {"Env": 5}, "rootfs": {"diff_ids": []}}', "Env"),
    (b'{"architecture": "amd64"}', "names no layers"),
])
def test_a_hostile_configuration_is_refused(hostile: HostileRegistry, store: Store, config: bytes, words: str) -> None:
    image = simple_image(LOWER)
    manifest = json.loads(image.manifest)
    manifest["config"].update(digest=sha256(config), size=len(config))
    hostile.add_image("x", "1", {**image.blobs, sha256(config): config}, json.dumps(manifest).encode(), image.media_type)
    with pytest.raises(Corrupt) as failure:
        store.pull(f"{hostile.host}/x:1")
    assert words in explain(failure.value)
    assert store.images.list() == []
    assert store.leftovers() == []


@pytest.mark.parametrize(("reply", "words"), [
    (Reply(status=404, body=b'{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}'),
     "blob unknown to registry (status 404)"),
    (Reply(status=403, body=b'{"errors":[{"code":"DENIED","message":"quota"}]}'), "denied: quota (status 403)"),
    (Reply(status=429, headers={"Retry-After": "99999"}), "too many requests to registry"),
    (Reply(status=418), "invalid status code from registry 418 (I'm a Teapot)"),
])
def test_a_registry_that_refuses_a_layer_is_named(hostile: HostileRegistry, store: Store, reply: Reply, words: str) -> None:
    image = simple_image(LOWER, UPPER)
    name = serve(hostile, image)
    hostile.script[f"GET {image.layers[1]}"] = [reply]
    with pytest.raises(RegistryError) as failure:
        store.pull(name)
    assert words in explain(failure.value)
    assert f"{hostile.host}/some/image" in explain(failure.value)
    assert store.images.list() == []


def test_a_tar_that_leads_out_is_refused(hostile: HostileRegistry, store: Store, tmp_path: Path) -> None:
    import tarfile

    image = TestImage([tar([(tarfile.TarInfo("../../escaped"), b"x")])])
    with pytest.raises(Corrupt):
        store.pull(serve(hostile, image))
    assert not list(tmp_path.rglob("escaped"))
    assert store.partials() == []


# --- processes --------------------------------------------------------------------------------------------------------

def test_a_killed_pull_is_continued_by_range(hostile: HostileRegistry, store: Store) -> None:
    image = simple_image(big_layer(1), big_layer(2))
    name = serve(hostile, image)
    for layer in image.layers:
        hostile.script[f"GET {layer}"] = [Reply(stall_after=1_500_000, stall=30)]
    process = puller(store, name, "http")
    await_(lambda: all((store.path / "blobs/sha256" / f"{layer[7:]}.partial").exists()
                       and (store.path / "blobs/sha256" / f"{layer[7:]}.partial").stat().st_size >= 1_400_000
                       for layer in image.layers), "the downloads")
    process.kill()
    process.communicate()
    await_(lambda: not [entry for entry in store.leftovers() if ".tmp" in entry], "the workers undo their work")
    assert store.images.list() == []
    sizes = {layer: (store.path / "blobs/sha256" / f"{layer[7:]}.partial").stat().st_size for layer in image.layers}
    hostile.script.clear()
    hostile.requests.clear()
    assert store.pull(name).id == image.id
    for layer in image.layers:
        assert [request.headers.get("range") for request in hostile.asked(f"GET /v2/some/image/blobs/{layer}")] == [
            f"bytes={sizes[layer]}-"]
    assert store.leftovers() == []


def test_an_interrupted_pull_leaves_only_what_is_continued(hostile: HostileRegistry, store: Store) -> None:
    image = simple_image(big_layer(1), big_layer(2))
    name = serve(hostile, image)
    hostile.script[f"GET {image.layers[1]}"] = [Reply(stall_after=1_000_000, stall=30)]
    process = puller(store, name, "http")
    await_(lambda: store.database.row("SELECT count(*) FROM layers") == (1,) and store.partials(), "the first layer")
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, words = process.communicate()
    assert "KeyboardInterrupt" in words
    assert time.monotonic() - begin < 15
    assert not [entry for entry in store.leftovers() if ".tmp" in entry]
    assert store.images.list() == []


def test_eight_parallel_pulls_download_and_unpack_each_layer_once(registry: RunningRegistry, store: Store, tmp_path: Path) -> None:
    shared = [big_layer(number) for number in range(4)]
    images = [simple_image(*shared, {f"own{number}": b"x" * 1000}) for number in range(4)]
    for number, image in enumerate(images):
        put(registry, tmp_path, image, f"parallel/image{number}:1")
    registry.forget_log()
    pullers = [puller(store, f"{registry.host}/parallel/image{number % 4}:1") for number in range(8)]
    for number, process in enumerate(pullers):
        out, words = process.communicate(timeout=120)
        assert out.strip() == images[number % 4].id, words
    assert store.database.row("SELECT count(*) FROM layers") == (8,)
    for layer in {layer for image in images for layer in image.layers}:
        assert len(registry.requests("GET", f"/blobs/{layer}")) == 1
    assert store.leftovers() == []


def test_threads_pull_as_well(registry: RunningRegistry, store: Store, tmp_path: Path) -> None:
    put(registry, tmp_path, simple_image(LOWER, UPPER), "threads:1")
    end = threading.Event()
    other = threading.Thread(target=end.wait)
    other.start()
    try:
        assert store.pull(f"{registry.host}/threads:1").id
    finally:
        end.set()
        other.join()
    assert store.leftovers() == []


def test_a_full_disk_is_a_clear_error(hostile: HostileRegistry, tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    image = simple_image(big_layer(1), big_layer(2))
    name = serve(hostile, image)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(mount)], check=True)
    try:
        small = Store(mount / "store")
        with pytest.raises(PodlingError) as failure:
            small.pull(name)
        assert "no space left on device" in explain(failure.value)
        assert small.images.list() == []
        assert not [entry for entry in small.leftovers() if ".tmp" in entry]
        small.database.close()
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)
