"""zstd:chunked blobs: any decoder gives the tar, the table tells where its files are, and what a table claims is checked."""

from __future__ import annotations

import contextlib
import io
import json
import random
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from podling.errors import Corrupt
from podling.image.chunked import estargz, toc
from podling.image.chunked.crc64 import crc64
from podling.image.chunked.writing import CHUNK, Chunked
from tests.support.images import sha256, tar

if TYPE_CHECKING:
    from collections.abc import Callable

content = random.Random(1).randbytes
FILES = {"etc/a": b"hello", "etc/empty": b"", "usr/big": content(3 * CHUNK + 17), "usr/zeros": bytes(CHUNK), "usr/umläut": b"x"}


def written(data: bytes, cut: int = 70_001) -> tuple[bytes, dict[str, str]]:
    blob = Chunked(iter([data[start:start + cut] for start in range(0, len(data), cut)]))
    return b"".join(blob), blob.annotations


def parts(blob: bytes, annotations: dict[str, str]) -> tuple[toc.Files, bytes]:
    where = toc.positions(annotations, len(blob))
    assert where is not None
    return toc.read(where, lambda start, end: blob[start:end], "it")


def plain(blob: bytes) -> bytes:
    from backports import zstd

    output = b""
    while blob:
        decoder = zstd.ZstdDecompressor()
        output += decoder.decompress(blob)
        assert decoder.eof
        blob = decoder.unused_data
    return output


def _by_table(data: bytes, value: int) -> int:
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (0xD800000000000000 if number & 1 else 0)
        table.append(number)
    value ^= (1 << 64) - 1
    for byte in data:
        value = table[(value ^ byte) & 255] ^ value >> 8
    return value ^ (1 << 64) - 1


def test_checksums_are_those_of_go() -> None:
    assert crc64(b"123456789") == 0xB90956C775A41001
    for size in (0, 1, 7, 8, 9, 511, 4096, 63_479, 63_480, 63_481, 130_000):
        data = content(size)
        assert crc64(data) == _by_table(data, 0)
        assert crc64(data[size // 3:], crc64(data[:size // 3])) == crc64(data)


def test_any_decoder_gives_the_tar() -> None:
    data = tar(FILES)
    blob, annotations = written(data)
    assert plain(blob) == data
    assert blob[-8:] == b"GNUlInUx"
    assert written(data, 512)[0] == blob       # however its pieces come
    assert sorted(annotations) == sorted(toc.ANNOTATIONS)


def test_the_table_tells_where_files_are() -> None:
    data = tar(FILES)
    blob, annotations = written(data)
    files, split = parts(blob, annotations)
    assert set(files) == {name for name, held in FILES.items() if held}
    assert len(files["usr/big"]) == 4
    for name, chunks in files.items():
        for start, end, at, size, digest in chunks:
            piece = plain(blob[start:end])
            assert piece == FILES[name][at:at + size]
            assert sha256(piece) == digest
    made = b"".join(part if isinstance(part, bytes) else FILES[part[0]] for part in toc.split_members(split))
    assert made == data


def _archive(*members: tuple[str, bytes], **fields: Any) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, held in members:
            info = tarfile.TarInfo(name)
            info.size = len(held)
            for key, value in fields.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(held))
    return output.getvalue()


@pytest.mark.parametrize("data", [_archive(("a", b"1"), ("a", b"2")), _archive(("a\udcff", b"1")),
                                  _archive(("a", b"1"), type=b"7")], ids=["twice", "not UTF-8", "contiguous"])
def test_what_tables_cannot_say_is_written_without_one(data: bytes) -> None:
    blob, annotations = written(data)
    assert annotations == {}
    assert plain(blob) == data


def test_more_of_pax_is_in_the_table() -> None:
    blob, annotations = written(_archive(("a", b"1"), mode=0o4755, mtime=1.5, pax_headers={"atime": "12.25", "SCHILY.xattr.user.x": "v"}))
    where = toc.positions(annotations, len(blob))
    assert where is not None
    entry = json.loads(plain(blob[where.at:where.at + where.size]))["entries"][0]
    assert entry["modtime"] == "1970-01-01T00:00:01.5Z"
    assert entry["accesstime"] == "1970-01-01T00:00:12.25Z"
    assert entry["xattrs"] == {"user.x": "dg=="}
    assert entry["mode"] == 0o4755


@pytest.mark.parametrize("change", [
    lambda table: table.update(version=2), lambda table: table.update(entries=3), lambda table: table["entries"][1].update(name=None),
    lambda table: table["entries"][1].update(endOffset=0), lambda table: table["entries"][1].update(offset=-1),
    lambda table: table["entries"].append(table["entries"][1]), lambda table: table["entries"][4].update(chunkOffset=5),
    lambda table: table["entries"].insert(0, table["entries"][5]), lambda table: table["entries"][5].update(chunkSize="7")])
def test_impossible_tables_are_refused(change: Callable[[dict[str, Any]], object]) -> None:
    blob, annotations = written(tar(FILES))
    where = toc.positions(annotations, len(blob))
    assert where is not None
    table = json.loads(plain(blob[where.at:where.at + where.size]))
    assert toc.files(table, "it")
    change(table)
    with pytest.raises(Corrupt):
        toc.files(table, "it")


def test_parts_with_other_digests_are_refused() -> None:
    blob, annotations = written(tar(FILES))
    where = toc.positions(annotations, len(blob))
    assert where is not None
    for at in (where.at + 20, where.split_at + 20):
        spoilt = blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1:]
        with pytest.raises(Corrupt, match="does not match its digest"):
            toc.read(where, lambda start, end, spoilt=spoilt: spoilt[start:end], "it")  # type: ignore[misc]
    for key, value in ((toc.POSITION, "1:2:3:2"), (toc.POSITION, "x"), (toc.SPLIT_POSITION, f"{len(blob)}:5:5"),
                       (toc.POSITION, f"1:2:{toc.LIMIT + 1}:1")):
        assert toc.positions({**annotations, key: value}, len(blob)) is None


SCALARS = [None, True, -1, 0, 1, 7, 1 << 70, 1.5, "", "x", "sha256:" + "0" * 64, [], {}, [[]], {"a": 1}]


def _changed(value: Any, source: random.Random) -> Any:
    """The value with something in it exchanged for something else."""
    if isinstance(value, dict) and value and source.random() < 0.9:
        key = source.choice(sorted(value))
        return {**value, key: _changed(value[key], source)}
    if isinstance(value, list) and value and source.random() < 0.9:
        at = source.randrange(len(value))
        return [*value[:at], _changed(value[at], source), *value[at + 1:]]
    return source.choice(SCALARS)


@pytest.mark.parametrize("seed", range(40))
def test_any_table_is_taken_or_refused(seed: int) -> None:
    source = random.Random(seed)
    blob, annotations = written(tar({**FILES, "z": b"1" * 2000}))
    where = toc.positions(annotations, len(blob))
    assert where is not None
    table = json.loads(plain(blob[where.at:where.at + where.size]))
    split = plain(blob[where.split_at:where.split_at + where.split_size])
    for _ in range(50):
        changed = _changed(table, source)
        for read in (toc.files, lambda made, what: estargz.files(made, 1 << 40, what)):
            with contextlib.suppress(Corrupt):
                read(changed if isinstance(changed, dict) else {}, "it")
        line = json.loads(source.choice(split.splitlines()))
        with contextlib.suppress(Corrupt):
            list(toc.split_members(json.dumps(_changed(line, source)).encode()))


def test_a_table_of_endless_nothings_is_refused() -> None:
    with pytest.raises(Corrupt, match="more than 600000 entries"):
        toc.loaded(b'{"version":1,"entries":[' + b"{}," * 600_001 + b"{}]}", "it")


def test_any_bytes_are_no_estargz() -> None:
    for size in (0, 1, 50, 51, 60, 500):
        data = content(size)
        with pytest.raises(Corrupt):
            estargz.Table("sha256:" + "0" * 64, size, lambda start, end, data=data: data[start:end], "it")  # type: ignore[misc]
