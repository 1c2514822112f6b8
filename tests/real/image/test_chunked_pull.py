"""Layers with a table of contents: what the store holds is not fetched again, and what a registry claims is not believed."""

from __future__ import annotations

import gzip
import json
import random
import tarfile
from typing import TYPE_CHECKING

import pytest

from podling.errors import Corrupt, RegistryError
from podling.image.chunked import toc
from podling.image.chunked.writing import CHUNK, Chunked
from podling.image.registry.client import Registry
from tests.support.hostile import HostileRegistry, Reply
from tests.support.images import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, sha256, simple_image, tar
from tests.support.pulling import await_, puller
from tests.support.stores import Store, store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["store"]
content = random.Random(7).randbytes
SHARED = {f"usr/lib/file{number}": content(20_000) for number in range(30)}
LARGE = content(6 * CHUNK)
ONE = {**SHARED, "usr/large": LARGE, "etc/one": b"one", "usr/moved": content(50_000)}
TWO = {**SHARED, "usr/large": LARGE[:CHUNK] + content(CHUNK) + LARGE[2 * CHUNK:], "etc/two": content(9000), "opt/here": ONE["usr/moved"]}


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileRegistry]:
    with HostileRegistry() as server:
        monkeypatch.setattr(Registry, "_ping", lambda self: self._ping_scheme("http"))
        yield server


def serve(server: HostileRegistry, name: str, files: dict[str, bytes],
          change: Callable[[bytes, dict[str, str]], tuple[bytes, dict[str, str]]] | None = None) -> str:
    """Serve an image of one zstd:chunked layer; ``change`` is what the registry does to its blob and annotations."""
    data = tar(files)
    writer = Chunked(iter([data]))
    blob = b"".join(writer)
    annotations = writer.annotations
    if change is not None:
        blob, annotations = change(blob, annotations)
    return serve_layer(server, name, data, blob, annotations)


def serve_layer(server: HostileRegistry, name: str, data: bytes, blob: bytes, annotations: dict[str, str], kind: str = "zstd") -> str:
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                         "rootfs": {"type": "layers", "diff_ids": [sha256(data)]}}).encode()
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {"mediaType": OCI_CONFIG, "digest": sha256(config), "size": len(config)},
        "layers": [{"mediaType": f"{OCI_LAYER}+{kind}", "digest": sha256(blob), "size": len(blob), "annotations": annotations}]}).encode()
    server.add_image(name, "1", {sha256(config): config, sha256(blob): blob}, manifest, OCI_MANIFEST)
    server.layer = sha256(blob)  # type: ignore[attr-defined]
    return f"{server.host}/{name}:1"


def fetched(server: HostileRegistry, name: str) -> int:
    """Bytes of the layer that were sent."""
    return sum(request.sent for request in server.asked(f"GET /v2/{name}/blobs/{server.layer}"))  # type: ignore[attr-defined]


@pytest.mark.parametrize("one_range", [False, True], ids=["several ranges", "one range"])
def test_what_is_there_is_not_fetched_again(hostile: HostileRegistry, store: Store, one_range: bool) -> None:
    hostile.one_range = one_range
    store.pull(serve(hostile, "one", ONE))
    assert fetched(hostile, "one") == len(hostile.blobs[hostile.layer])  # type: ignore[attr-defined]
    image = store.pull(serve(hostile, "two", TWO))
    assert store.tree(image) == TWO
    blob = len(hostile.blobs[hostile.layer])  # type: ignore[attr-defined]
    assert blob > 2_200_000
    # one changed chunk, one new file, the table and what lies between; and what a registry sends that knows no several ranges
    assert CHUNK < fetched(hostile, "two") < CHUNK + 9000 + 30_000 + (blob if one_range else 0)
    assert len(hostile.asked("GET /v2/two/blobs/")) == (5 if one_range else 3)
    assert b"".join(store.images.open_tar(image, store.images.layers(image)[0])) == tar(TWO)
    assert store.leftovers() == []
    store.pull(serve(hostile, "three", {**TWO, "etc/three": b"3"}))          # what came in parts is known too
    assert fetched(hostile, "three") < 30_000 + (len(hostile.blobs[hostile.layer]) if one_range else 0)  # type: ignore[attr-defined]


def test_what_a_manifest_claims_of_blobs_is_not_believed_elsewhere(hostile: HostileRegistry, store: Store) -> None:
    """Only a blob that was read whole is known to be its layer; another image's push does not rely on the others."""
    def known() -> dict[str, int]:
        return dict(store.database.rows("SELECT digest, claimed FROM blobs"))

    store.pull(serve(hostile, "one", ONE))
    whole = hostile.layer  # type: ignore[attr-defined]
    assert known() == {whole: 0}
    name = serve(hostile, "two", TWO)
    store.pull(name)
    parts = hostile.layer  # type: ignore[attr-defined]
    assert known() == {whole: 0, parts: 1}
    again = simple_image(ONE)                                                # a layer that is there, under a digest that nobody has read
    hostile.add_image("again", "1", again.blobs, again.manifest, again.media_type)
    store.pull(f"{hostile.host}/again:1")
    assert known()[again.layers[0]] == 1
    for image in store.images.list():
        store.images.remove(image)
    store.pull(f"{hostile.host}/again:1")
    assert known() == {again.layers[0]: 0}


def test_layers_without_a_table_are_looked_into_by_path(hostile: HostileRegistry, store: Store) -> None:
    plain = simple_image(ONE)
    hostile.add_image("plain", "1", plain.blobs, plain.manifest, plain.media_type)
    store.pull(f"{hostile.host}/plain:1")
    image = store.pull(serve(hostile, "two", TWO))
    assert store.tree(image) == TWO
    assert fetched(hostile, "two") < CHUNK + 9000 + 50_000 + 30_000          # what was moved is fetched again


def test_without_ranges_it_is_downloaded_whole(hostile: HostileRegistry, store: Store) -> None:
    store.pull(serve(hostile, "one", ONE))
    hostile.no_ranges = True
    image = store.pull(serve(hostile, "two", TWO))
    assert store.tree(image) == TWO


def test_a_broken_range_is_continued(hostile: HostileRegistry, store: Store) -> None:
    store.pull(serve(hostile, "one", ONE))
    name = serve(hostile, "two", TWO)
    hostile.script[f"GET {hostile.layer}"] = [Reply(), Reply(cut_after=1000), Reply(status=503)]  # type: ignore[attr-defined]
    image = store.pull(name)
    assert store.tree(image) == TWO
    assert fetched(hostile, "two") < 2 * CHUNK + 60_000


@pytest.mark.parametrize("body", [b"", b"nonsense", b"--frontier\r\n\r\n\r\n", b"\r\n--frontier\r\nContent-Range: bytes 0-1/9\r\n\r\nxx"])
def test_answers_with_several_ranges_may_be_anything(hostile: HostileRegistry, store: Store, body: bytes) -> None:
    store.pull(serve(hostile, "one", ONE))
    name = serve(hostile, "two", TWO)
    head = b"HTTP/1.1 206 x\r\nContent-Type: multipart/byteranges; boundary=frontier\r\nContent-Length: %d\r\n\r\n" % len(body)
    hostile.script[f"GET /v2/two/blobs/{hostile.layer}"] = [Reply(), Reply(raw=head + body)]  # type: ignore[attr-defined]
    assert store.tree(store.pull(name)) == TWO


def test_what_the_store_claims_is_checked_too(hostile: HostileRegistry, store: Store) -> None:
    held = store.pull(serve(hostile, "one", ONE))
    directory = store.images.layer_directories(held.id)[0]
    with open(f"{directory}/usr/lib/file3", "r+b") as file:
        file.write(b"changed")
    image = store.pull(serve(hostile, "two", TWO))
    assert store.tree(image) == TWO


def test_a_wrong_chunk_is_downloaded_again_or_refused(hostile: HostileRegistry, store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    store.pull(serve(hostile, "one", ONE))
    name = serve(hostile, "two", TWO)
    layer = hostile.layer  # type: ignore[attr-defined]
    good = hostile.blobs[layer]
    at = good.index(TWO["etc/two"][:64])     # what is random is not compressed
    bad = good[:at] + bytes([good[at] ^ 255]) + good[at + 1:]
    hostile.blobs[layer] = bad
    with pytest.raises((Corrupt, RegistryError), match="does not match its digest"):
        store.pull(name, retries=0)
    assert len(store.images.list()) == 1
    assert store.leftovers() == []
    assert "downloaded whole" in capfd.readouterr().err
    hostile.script[f"GET /v2/two/blobs/{layer}"] = [Reply(), Reply(), Reply(change=lambda _: good)]
    assert store.tree(store.pull(name, retries=0)) == TWO
    assert "downloaded whole" in capfd.readouterr().err


def test_a_wrong_table_is_not_used(hostile: HostileRegistry, store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    store.pull(serve(hostile, "one", ONE))
    image = store.pull(serve(hostile, "two", TWO, lambda blob, said: (blob, {**said, toc.CHECKSUM: sha256(b"")})))
    assert "table of contents" in capfd.readouterr().err
    assert store.tree(image) == TWO


def _other_file(blob: bytes, said: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    """A table, with the right digest, that says another content of one file."""
    from backports import zstd

    where = toc.positions(said, len(blob))
    assert where is not None
    table = json.loads(zstd.decompress(blob[where.at:where.at + where.size]))
    one, two = [entry for entry in table["entries"] if entry["name"] in ("usr/lib/file1", "usr/lib/file2")]
    one["digest"], two["digest"] = two["digest"], one["digest"]
    packed = zstd.compress(json.dumps(table).encode())
    split = blob[where.split_at:where.split_at + where.split_size]
    start = where.at - 8
    made = blob[:start] + toc.SKIPPABLE.pack(toc.SKIPPABLE_MAGIC, len(packed)) + packed
    split_at = len(made) + 8
    made += toc.SKIPPABLE.pack(toc.SKIPPABLE_MAGIC, len(split)) + split
    return made, {**said, toc.CHECKSUM: sha256(packed), toc.POSITION: f"{where.at}:{len(packed)}:{len(json.dumps(table))}:1",
                  toc.SPLIT_POSITION: f"{split_at}:{len(split)}:{where.split_plain}"}


def test_a_table_that_lies_is_found_out_by_the_tar(hostile: HostileRegistry, store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    store.pull(serve(hostile, "one", ONE))
    image = store.pull(serve(hostile, "two", TWO, _other_file))
    assert "does not match its digest: its tar has" in capfd.readouterr().err
    assert store.tree(image) == TWO


def estargz(files: dict[str, bytes], chunk: int = 100_000) -> tuple[bytes, bytes, str]:
    """(the tar with its table, the blob, the digest of the table): members as the specification has them."""
    parts: list[tuple[bytes, dict[str, object] | None]] = []       # (what a member holds, the entry that begins there)
    entries: list[dict[str, object]] = []
    waiting = b""
    for name, data in files.items():
        info = tarfile.TarInfo(name)
        info.size = len(data)
        waiting += info.tobuf(tarfile.USTAR_FORMAT)
        entry: dict[str, object] = {"name": name, "type": "reg", "size": len(data), "digest": sha256(data)}
        for at in range(0, len(data), chunk):
            parts.append((waiting, None))
            piece = data[at:at + chunk]
            entry = entry if at == 0 else {"name": name, "type": "chunk"}
            entry.update({"chunkDigest": sha256(piece)}, **({"chunkOffset": at} if at else {}),
                         **({"chunkSize": len(piece)} if at + chunk < len(data) else {}))
            parts.append((piece, entry))
            entries.append(entry)
            waiting = b""
        waiting = bytes(-len(data) % 512)
        parts[-1] = (parts[-1][0] + waiting, parts[-1][1])
        waiting = b""
    blob = plain = b""
    merged: list[tuple[bytes, dict[str, object] | None]] = []
    for held, entry in parts:                                       # headers belong to the member of what comes before
        if entry is None and merged:
            merged[-1] = (merged[-1][0] + held, merged[-1][1])
        else:
            merged.append((held, entry))
    for held, entry in merged:
        if entry is not None:
            entry["offset"] = len(blob)
        blob += gzip.compress(held, 6, mtime=0)
        plain += held
    table = json.dumps({"version": 1, "entries": entries}).encode()
    info = tarfile.TarInfo("stargz.index.json")
    info.size = len(table)
    tail = info.tobuf(tarfile.USTAR_FORMAT) + table + bytes(-len(table) % 512) + bytes(1024)
    extra = b"SG" + (22).to_bytes(2, "little") + b"%016xSTARGZ" % len(blob)
    footer = b"\x1f\x8b\x08\x04" + bytes(4) + b"\0\xff" + len(extra).to_bytes(2, "little") + extra + b"\x01\0\0\xff\xff" + bytes(8)
    return plain + tail, blob + gzip.compress(tail, 6, mtime=0) + footer, sha256(table)


def test_estargz_is_fetched_in_parts_too(hostile: HostileRegistry, store: Store) -> None:
    for name, files in (("one", ONE), ("two", TWO)):
        data, blob, table = estargz(files)
        image = store.pull(serve_layer(hostile, name, data, blob, {"containerd.io/snapshot/stargz/toc.digest": table}, "gzip"))
        assert store.tree(image) == {**files, "stargz.index.json": store.tree(image)["stargz.index.json"]}
        assert (fetched(hostile, name) < len(blob)) == (name == "two")
    assert fetched(hostile, "two") < len(blob) - 10 * 100_000                # the chunks of the large file but three and its last


def test_an_estargz_table_that_lies_is_not_used(hostile: HostileRegistry, store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    store.pull(serve(hostile, "one", ONE))
    data, blob, _ = estargz(TWO)
    image = store.pull(serve_layer(hostile, "two", data, blob, {"containerd.io/snapshot/stargz/toc.digest": sha256(b"")}, "gzip"))
    assert store.tree(image)["etc/two"] == TWO["etc/two"]
    assert "does not match its digest" in capfd.readouterr().err
    name = serve_layer(hostile, "three", data, blob[:-1] + b"x", {"containerd.io/snapshot/stargz/toc.digest": sha256(b"")}, "gzip")
    hostile.blobs[hostile.layer] = blob[:-60]  # type: ignore[attr-defined]
    store.images.remove(image)
    with pytest.raises((Corrupt, RegistryError)):
        store.pull(name, retries=0)
    assert len(store.images.list()) == 1


def interrupted(hostile: HostileRegistry, store: Store, name: str, table: int = 1) -> int:
    """Break a pull in parts off in the middle of a chunk, after so many requests for its table; how many bytes are kept."""
    layer = hostile.layer  # type: ignore[attr-defined]
    hostile.script[f"GET /v2/two/blobs/{layer}"] = [*[Reply()] * table, Reply(stall_after=150_000, stall=30)]
    file = store.path / "blobs/sha256" / f"{layer[7:]}.parts"
    process = puller(store, name, "http")
    await_(lambda: file.exists() and file.stat().st_size > 140_000, "parts have come")
    process.kill()
    process.communicate()
    await_(lambda: not [entry for entry in store.leftovers() if ".tmp" in entry], "the worker undoes its work")
    assert len(store.images.list()) == 1
    hostile.script.clear()
    hostile.requests.clear()
    return file.stat().st_size


@pytest.mark.parametrize("kind", ["zstd:chunked", "estargz"])
def test_a_killed_pull_in_parts_is_continued(hostile: HostileRegistry, store: Store, kind: str) -> None:
    """What came is not fetched again, the table of contents neither."""
    def offer(name: str, files: dict[str, bytes]) -> str:
        if kind == "zstd:chunked":
            return serve(hostile, name, files)
        data, blob, table = estargz(files)
        return serve_layer(hostile, name, data, blob, {"containerd.io/snapshot/stargz/toc.digest": table}, "gzip")

    store.pull(offer("one", ONE))
    name = offer("two", TWO)
    kept = interrupted(hostile, store, name, 2 if kind == "estargz" else 1)
    image = store.pull(name)
    files = store.tree(image)
    assert {path: files[path] for path in TWO} == TWO
    rest = fetched(hostile, "two")
    hostile.requests.clear()
    for known in store.images.list():
        if known.id == image.id:
            store.images.remove(known)
    assert store.leftovers() == []
    store.pull(name)
    assert rest + 140_000 < fetched(hostile, "two") <= rest + kept
    assert store.leftovers() == []


@pytest.mark.parametrize("damage", ["bytes", "heads", "cut", "zeros"])
def test_parts_that_an_earlier_run_left_are_not_believed(hostile: HostileRegistry, store: Store, damage: str,
                                                        capfd: pytest.CaptureFixture[str]) -> None:
    store.pull(serve(hostile, "one", ONE))
    name = serve(hostile, "two", TWO)
    size = interrupted(hostile, store, name)
    file = store.path / "blobs/sha256" / f"{hostile.layer[7:]}.parts"  # type: ignore[attr-defined]
    good = file.read_bytes()
    file.write_bytes({"bytes": good[:-60_000] + bytes(30_000) + good[-30_000:], "heads": content(size), "cut": good[:-1000],
                      "zeros": bytes(size)}[damage])
    assert store.tree(store.pull(name)) == TWO
    assert "downloaded whole" not in capfd.readouterr().err
    assert fetched(hostile, "two") < 2 * CHUNK              # what is wrong is noticed after the rest has been asked for
    assert store.leftovers() == []
