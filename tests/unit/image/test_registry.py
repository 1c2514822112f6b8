"""The registry client against a server that misbehaves as it is told."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from podling.errors import Corrupt, NotInRegistry, PodlingError, RegistryError, Unauthorized, explain, hints
from podling.image.manifest import Descriptor
from podling.image.partials import Partial
from podling.image.registry import blobs
from podling.image.registry.authorization import parse_challenges
from podling.image.registry.client import Registry
from podling.image.registry.connection import Patience, certificate_directory, proxy_for
from tests.support.hostile import HostileRegistry, Reply
from tests.support.registry import certificates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOB = os.urandom(1 << 20)
DIGEST = "sha256:" + hashlib.sha256(BLOB).hexdigest()
PATIENCE = Patience(connect=2.0, read=0.4, retries=3, first_delay=0.01, longest_delay=2.0)


@pytest.fixture
def server() -> Iterator[HostileRegistry]:
    with HostileRegistry() as running:
        running.blobs[DIGEST] = BLOB
        yield running


@pytest.fixture
def client(server: HostileRegistry) -> Iterator[Registry]:
    registry = Registry(server.host, insecure=True, patience=PATIENCE, env={})
    registry._base = f"http://{server.host}"  # a scripted server does not answer TLS's greeting
    yield registry
    registry.close()


def fetch(client: Registry, root: Path, *, size: int = len(BLOB), digest: str = DIGEST) -> bytes:
    descriptor = Descriptor(media_type="application/octet-stream", digest=digest, size=size)
    with Partial(str(root), digest, size) as partial:
        partial.open()
        blobs.download(client, "some/thing", descriptor, partial)
        return (root / "blobs/sha256" / f"{digest[7:]}.partial").read_bytes()


def left(root: Path) -> list[str]:
    return sorted(entry.name for entry in (root / "blobs/sha256").iterdir())


# --- which way it is spoken to ----------------------------------------------------------------------------------------


def test_a_registry_that_may_be_insecure_is_asked_without_tls_at_its_port(server: HostileRegistry) -> None:
    registry = Registry(server.host, insecure=True, patience=PATIENCE, env={})
    registry.ping()
    registry.ping()
    assert [repr(request) for request in server.requests] == ["GET /v2/"]
    registry.close()


def test_a_registry_with_tls_is_spoken_to_with_tls_though_it_need_not_be(tmp_path: Path) -> None:
    _, certificate, key = certificates(tmp_path)
    with HostileRegistry((certificate, key)) as server:
        server.blobs[DIGEST] = BLOB
        registry = Registry(server.host, insecure=True, patience=PATIENCE, env={})
        assert blobs.size_of(registry, "some/thing", DIGEST) == len(BLOB)
        registry.close()


def test_a_registry_that_must_be_secure_is_never_asked_without_tls(server: HostileRegistry) -> None:
    registry = Registry(server.host, patience=PATIENCE.replace(retries=0), env={})
    with pytest.raises(RegistryError):
        registry.ping()
    assert not server.requests


@pytest.mark.parametrize("status", [404, 500])
def test_what_answers_without_being_a_registry_is_named(server: HostileRegistry, status: int) -> None:
    server.script["GET /v2/"] = [Reply(status=status) for _ in range(9)]
    registry = Registry(server.host, insecure=True, patience=PATIENCE.replace(retries=0), env={})
    with pytest.raises(RegistryError, match=f"pinging container registry {server.host}") as failure:
        registry.ping()
    assert f"status code from registry {status}" in explain(failure.value)


# --- blobs ------------------------------------------------------------------------------------------------------------


def test_a_broken_download_goes_on_where_it_broke(server: HostileRegistry, client: Registry, tmp_path: Path) -> None:
    server.script["GET /blobs/"] = [Reply(cut_after=300_000), Reply(cut_after=200_000)]
    assert fetch(client, tmp_path) == BLOB
    ranges = [request.headers.get("range") for request in server.asked("GET /v2/some/thing/blobs/")]
    assert ranges[0] is None
    starts = [int(text.removeprefix("bytes=").rstrip("-")) for text in ranges[1:] if text]
    assert len(starts) == 2
    assert 0 < starts[0] <= 300_000 < starts[1] <= 500_000


def test_tries_are_counted_anew_when_something_came(server: HostileRegistry, client: Registry, tmp_path: Path) -> None:
    server.script["GET /blobs/"] = [Reply(cut_after=140_000) for _ in range(6)]
    assert fetch(client, tmp_path) == BLOB


def test_a_server_without_range_is_read_from_the_beginning_again(server: HostileRegistry, client: Registry, tmp_path: Path) -> None:
    server.script["GET /blobs/"] = [Reply(cut_after=300_000), Reply(no_range=True)]
    assert fetch(client, tmp_path) == BLOB


def test_what_came_stays_for_the_next_run(server: HostileRegistry, client: Registry, tmp_path: Path) -> None:
    server.script["GET /blobs/"] = [Reply(cut_after=300_000), *[Reply(status=503) for _ in range(9)]]
    with pytest.raises(RegistryError) as failure:
        fetch(client, tmp_path)
    assert "status code from registry 503" in explain(failure.value)
    assert left(tmp_path) == [f"{DIGEST[7:]}.partial"]
    server.script.clear()
    server.requests.clear()
    assert fetch(client, tmp_path) == BLOB
    assert server.asked("GET")[0].headers["range"] == "bytes=300000-"


def test_a_stalled_download_is_tried_again(server: HostileRegistry, client: Registry, tmp_path: Path) -> None:
    server.script["GET /blobs/"] = [Reply(stall_after=200_000, stall=1.5)]
    assert fetch(client, tmp_path) == BLOB
    assert len(server.asked("GET")) == 2


def test_a_complete_partial_file_needs_no_request(server: HostileRegistry, client: Registry, tmp_path: Path) -> None:
    (tmp_path / "blobs/sha256").mkdir(parents=True)
    (tmp_path / "blobs/sha256" / f"{DIGEST[7:]}.partial").write_bytes(BLOB)
    assert fetch(client, tmp_path) == BLOB
    assert not server.requests


@pytest.mark.parametrize(("reply", "words"), [
    (Reply(change=lambda body: b"x" + body[1:]), "does not match its digest"),
    (Reply(change=lambda body: body + b"more"), "the registry sends 1048580 bytes, the manifest says 1048576"),
    (Reply(change=lambda body: body + b"more", chunked=True), "longer than the 1048576 bytes"),
    (Reply(change=lambda body: body[:-5]), "the registry sends 1048571 bytes"),
])
def test_a_blob_that_is_another_is_refused(server: HostileRegistry, client: Registry, tmp_path: Path, reply: Reply,
                                           words: str) -> None:
    server.script["GET /blobs/"] = [reply]
    with pytest.raises(Corrupt) as failure:
        fetch(client, tmp_path)
    assert words in explain(failure.value)
    assert DIGEST in explain(failure.value)


def test_a_blob_with_another_digest_leaves_nothing(server: HostileRegistry, client: Registry, tmp_path: Path) -> None:
    server.script["GET /blobs/"] = [Reply(change=lambda body: b"x" + body[1:])]
    with pytest.raises(Corrupt):
        fetch(client, tmp_path)
    assert left(tmp_path) == []


def test_a_chunked_body_that_is_too_short_is_continued(server: HostileRegistry, client: Registry, tmp_path: Path) -> None:
    server.script["GET /blobs/"] = [Reply(change=lambda body: body[:-5], chunked=True)]
    assert fetch(client, tmp_path) == BLOB


def test_a_wrong_content_range_is_refused(server: HostileRegistry, client: Registry, tmp_path: Path) -> None:
    server.script["GET /blobs/"] = [Reply(cut_after=300_000), Reply(headers={"Content-Range": "bytes 5-99/100"})]
    with pytest.raises(RegistryError, match="reading blob") as failure:
        fetch(client, tmp_path)
    assert "bytes 5-99/100" in explain(failure.value)


def test_two_downloads_of_one_blob_wait_for_each_other(server: HostileRegistry, client: Registry, tmp_path: Path) -> None:
    server.script["GET /blobs/"] = [Reply(stall_after=100_000, stall=0.2)]
    threads = [threading.Thread(target=fetch, args=(client, tmp_path)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.asked("GET")) == 1


# --- manifests and errors ---------------------------------------------------------------------------------------------


UPLOADS = "/v2/some/thing/blobs/uploads/"
FORGOTTEN = b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"blob upload unknown to registry"}]}'


def send(client: Registry, way: str, session: str) -> None:
    """A blob, sent in one piece or as it is made."""
    if way == "bytes":
        blobs.upload_bytes(client, "some/thing", BLOB, DIGEST, session=session)
    else:
        assert blobs.upload_stream(client, "some/thing", lambda: iter([BLOB[:1000], BLOB[1000:]]), "it", session=session) == (
            DIGEST, len(BLOB))


def uploading(server: HostileRegistry, *, forgets: tuple[str, ...] = ()) -> None:
    """Begin an upload whenever asked, number 1 first; those in ``forgets`` are unknown when something is sent."""
    server.script[f"POST {UPLOADS}"] = [Reply(status=202, headers={"Location": f"{UPLOADS}{number}?_state=a"}) for number in (1, 2, 3)]
    for number in ("0", "1", "2", "3"):
        bad = [Reply(status=404, body=FORGOTTEN)] if number in forgets else []
        server.script[f"PATCH {UPLOADS}{number}"] = [*bad, Reply(status=202, headers={"Location": f"{UPLOADS}{number}?_state=b"})]
        server.script[f"PUT {UPLOADS}{number}"] = [*bad, Reply(status=201)]


@pytest.mark.parametrize("way", ["bytes", "stream"])
@pytest.mark.parametrize(("session", "forgets", "asked"), [
    (f"{UPLOADS}0?_state=x", (), ["0"]), ("", (), ["begin", "1"]), (f"{UPLOADS}0?_state=x", ("0",), ["0", "begin", "1"]),
    ("", ("1",), ["begin", "1", "begin", "2"]),
])
def test_an_upload_that_was_begun_is_used_and_one_that_was_forgotten_begun_anew(
        server: HostileRegistry, client: Registry, way: str, session: str, forgets: tuple[str, ...], asked: list[str]) -> None:
    uploading(server, forgets=forgets)
    send(client, way, session)
    places = [request.path.removeprefix(UPLOADS).partition("?")[0] or "begin" for request in server.requests]
    assert [place for number, place in enumerate(places) if place != places[number - 1] or not number] == asked
    assert server.requests[-1].path.endswith("&digest=" + DIGEST.replace(":", "%3A"))
    assert BLOB in [request.body for request in server.requests[-2:]]


@pytest.mark.parametrize("way", ["bytes", "stream"])
def test_an_upload_that_is_always_forgotten_is_an_error(server: HostileRegistry, client: Registry, way: str) -> None:
    uploading(server, forgets=("0", "1", "2", "3"))
    with pytest.raises(NotInRegistry) as failure:
        send(client, way, f"{UPLOADS}0")
    assert "blob upload unknown to registry" in explain(failure.value)


def test_a_fault_while_uploading_is_tried_again_in_a_new_upload(server: HostileRegistry, client: Registry) -> None:
    uploading(server)
    server.script[f"PATCH {UPLOADS}0"] = [Reply(status=503)]
    send(client, "stream", f"{UPLOADS}0")
    assert [request.method for request in server.requests] == ["PATCH", "POST", "PATCH", "PUT"]


@pytest.mark.parametrize(("reply", "outcome"), [
    (Reply(status=201), (True, "")), (Reply(status=202, headers={"Location": f"{UPLOADS}7"}), (False, f"{UPLOADS}7")),
    (Reply(status=202), (False, "")),
])
def test_a_mount_tells_of_the_upload_that_was_begun_instead(server: HostileRegistry, client: Registry, reply: Reply,
                                                            outcome: tuple[bool, str]) -> None:
    server.script[f"POST {UPLOADS}"] = [reply]
    assert blobs.mount(client, "some/thing", DIGEST, "other/thing") == outcome
    assert server.requests[0].path == f"{UPLOADS}?mount={DIGEST.replace(':', '%3A')}&from=other%2Fthing"


def test_errors_name_registry_repository_and_what_it_said(server: HostileRegistry, client: Registry) -> None:
    with pytest.raises(NotInRegistry) as failure:
        client.manifest("some/thing", "nope")
    assert explain(failure.value) == f"reading manifest nope in {server.host}/some/thing: manifest unknown (status 404)"


def test_a_refusal_tells_how_to_log_in(server: HostileRegistry, client: Registry) -> None:
    body = json.dumps({"errors": [{"code": "DENIED", "message": "this is private"}]}).encode()
    server.script["GET /manifests/"] = [Reply(status=401, body=body)]
    with pytest.raises(Unauthorized) as failure:
        client.manifest("some/thing", "1")
    assert explain(failure.value).endswith("denied: this is private (status 401)")
    assert hints(failure.value) == [f"log in with 'podling login {server.host}'"]


def test_a_fault_of_the_registry_is_tried_again(server: HostileRegistry, client: Registry) -> None:
    server.manifests["some/thing", "1"] = (b"{}", "text/plain")
    server.script["GET /manifests/"] = [Reply(status=500), Reply(status=502), Reply(raw=b"")]
    assert client.manifest("some/thing", "1") == (b"{}", "text/plain")


def test_a_fault_that_stays_is_an_error_after_three_tries(server: HostileRegistry, client: Registry) -> None:
    server.script["GET /manifests/"] = [Reply(status=500, body=b"<html>oops") for _ in range(9)]
    with pytest.raises(RegistryError) as failure:
        client.manifest("some/thing", "1")
    assert "invalid status code from registry 500 (Internal Server Error)" in explain(failure.value)
    assert len(server.asked("GET")) == 4


def test_retry_after_is_waited_for(server: HostileRegistry, client: Registry) -> None:
    server.manifests["some/thing", "1"] = (b"{}", "text/plain")
    server.script["GET /manifests/"] = [Reply(status=429, headers={"Retry-After": "1"})]
    begin = time.monotonic()
    client.manifest("some/thing", "1")
    assert time.monotonic() - begin >= 1.0


def test_a_long_retry_after_is_an_error_at_once(server: HostileRegistry, client: Registry) -> None:
    server.script["GET /manifests/"] = [Reply(status=429, headers={"Retry-After": "3600"})]
    with pytest.raises(RegistryError) as failure:
        client.manifest("some/thing", "1")
    assert "too many requests to registry" in explain(failure.value)
    assert len(server.asked("GET")) == 1


def test_a_manifest_without_end_is_refused(server: HostileRegistry, client: Registry) -> None:
    server.script["GET /manifests/"] = [Reply(status=200, body=b" " * (5 << 20))]
    with pytest.raises(Corrupt, match="longer than the 4194304 bytes"):
        client.manifest("some/thing", "1")


def test_a_manifest_by_digest_must_have_it(server: HostileRegistry, client: Registry) -> None:
    digest = "sha256:" + "0" * 64
    server.manifests["some/thing", digest] = (b"{}", "text/plain")
    with pytest.raises(Corrupt, match="does not match its digest"):
        client.manifest("some/thing", digest)


def test_a_registry_that_hangs_up_is_named(server: HostileRegistry, client: Registry) -> None:
    server.script["GET /manifests/"] = [Reply(raw=b"garbage\r\n\r\n") for _ in range(9)]
    with pytest.raises(RegistryError) as failure:
        client.manifest("some/thing", "1")
    assert f"{server.host}/some/thing" in explain(failure.value)


def test_nobody_listens() -> None:
    registry = Registry("127.0.0.1:1", patience=PATIENCE, env={})
    with pytest.raises(RegistryError) as failure:
        registry.ping()
    words = explain(failure.value)
    assert words == 'pinging container registry 127.0.0.1:1: Get "https://127.0.0.1:1/v2/": connect: connection refused'


def test_terminal_control_characters_of_a_registry_are_not_passed_on(server: HostileRegistry, client: Registry) -> None:
    body = json.dumps({"errors": [{"code": "X", "message": "\u001b[2Jevil\u009b31m" + "a" * 10_000}]}).encode()
    server.script["GET /manifests/"] = [Reply(status=418, body=body)]
    with pytest.raises(RegistryError) as failure:
        client.manifest("some/thing", "1")
    assert explain(failure.value).isprintable()
    assert len(explain(failure.value)) < 1000


def test_tags_come_in_pages(server: HostileRegistry, client: Registry) -> None:
    server.script["GET /tags/list"] = [
        Reply(status=200, body=b'{"name":"a","tags":["1","2"]}', headers={"Link": '</v2/some/thing/tags/list?last=2&n=2>; rel="next"'}),
        Reply(status=200, body=b'{"name":"a","tags":["3"]}')]
    assert client.tags("some/thing") == ["1", "2", "3"]


def test_no_tags_at_all(server: HostileRegistry, client: Registry) -> None:
    server.script["GET /tags/list"] = [Reply(status=200, body=b'{"name":"a","tags":null}')]
    assert client.tags("some/thing") == []


# --- redirects and logins ---------------------------------------------------------------------------------------------


class Login:
    username, password, identity_token = "u", "p:1", ""


def test_a_login_stays_behind_when_another_host_is_redirected_to(server: HostileRegistry) -> None:
    with HostileRegistry() as other:
        other.blobs[DIGEST] = BLOB
        registry = Registry(server.host, insecure=True, patience=PATIENCE, credentials=Login(), env={})
        registry._base = f"http://{server.host}"
        server.script["GET /manifests/"] = [Reply(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'}),
                                            Reply(status=307, headers={"Location": f"http://{other.host}/v2/x/blobs/{DIGEST}"})]
        assert registry.manifest("some/thing", "1")[0] == BLOB
    assert server.requests[-1].headers["authorization"] == "Basic dTpwOjE="
    assert "authorization" not in other.requests[0].headers


def test_redirects_for_ever_end(server: HostileRegistry, client: Registry) -> None:
    server.script["GET /manifests/"] = [Reply(status=302, headers={"Location": "/v2/some/thing/manifests/1"}) for _ in range(50)]
    with pytest.raises(RegistryError) as failure:
        client.manifest("some/thing", "1")
    assert "redirects more than 10 times" in explain(failure.value)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://x/y", "//"])
def test_redirects_lead_to_http_only(server: HostileRegistry, client: Registry, target: str) -> None:
    server.script["GET /manifests/"] = [Reply(status=302, headers={"Location": target}) for _ in range(50)]
    with pytest.raises(PodlingError):
        client.manifest("some/thing", "1")


def test_a_password_is_not_sent_to_a_token_server_without_tls(server: HostileRegistry) -> None:
    registry = Registry(server.host, patience=PATIENCE, credentials=Login(), env={})
    registry._base = f"https://{server.host}"
    registry.authorization._secure = True
    registry.authorization.challenges = parse_challenges([f'Bearer realm="http://{server.host}/token"'])
    with pytest.raises(RegistryError) as failure:
        registry.manifest("some/thing", "1")
    assert "without TLS" in explain(failure.value)
    assert not server.requests


@pytest.mark.parametrize(("header", "expected"), [
    ('Bearer realm="https://a/t",service="b",scope="repository:x:pull,push"',
     [("bearer", {"realm": "https://a/t", "service": "b", "scope": "repository:x:pull,push"})]),
    ('Basic realm="a \\"quoted\\" one"', [("basic", {"realm": 'a "quoted" one'})]),
    ("Basic", [("basic", {})]),
    ('Negotiate, Basic realm="x", Bearer realm=y', [("negotiate", {}), ("basic", {"realm": "x"}), ("bearer", {"realm": "y"})]),
    ('Bearer realm="unfinished', [("bearer", {"realm": "unfinished"})]),
    ("", []), (",,,", []), ('=="', []), ('"', []),
])
def test_challenges(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert [(found.scheme, found.parameters) for found in parse_challenges([header])] == expected


# --- proxies and certificates -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("url", "env", "proxy"), [
    ("https://quay.io/v2/", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
    ("https://quay.io/v2/", {"https_proxy": "p:1"}, "http://p:1"),
    ("http://quay.io/v2/", {"HTTPS_PROXY": "http://p:1"}, ""),
    ("https://quay.io/v2/", {"HTTPS_PROXY": "p", "NO_PROXY": "quay.io"}, ""),
    ("https://cdn.quay.io/v2/", {"HTTPS_PROXY": "p", "NO_PROXY": "quay.io"}, ""),
    ("https://quay.io/v2/", {"HTTPS_PROXY": "p", "NO_PROXY": ".quay.io"}, "http://p"),
    ("https://a.quay.io/v2/", {"HTTPS_PROXY": "p", "NO_PROXY": "x, .quay.io"}, ""),
    ("https://notquay.io/v2/", {"HTTPS_PROXY": "p", "NO_PROXY": "quay.io"}, "http://p"),
    ("https://quay.io/v2/", {"HTTPS_PROXY": "p", "NO_PROXY": "*"}, ""),
    ("https://10.1.2.3/", {"HTTPS_PROXY": "p", "NO_PROXY": "10.0.0.0/8"}, ""),
    ("https://11.1.2.3/", {"HTTPS_PROXY": "p", "NO_PROXY": "10.0.0.0/8"}, "http://p"),
    ("https://quay.io:5000/", {"HTTPS_PROXY": "p", "NO_PROXY": "quay.io:5001"}, "http://p"),
    ("https://quay.io:5000/", {"HTTPS_PROXY": "p", "NO_PROXY": "quay.io:5000"}, ""),
    ("http://localhost:5000/", {"HTTP_PROXY": "p"}, ""),
    ("http://127.0.0.1:5000/", {"HTTP_PROXY": "p"}, ""),
    ("http://[::1]:5000/", {"HTTP_PROXY": "p"}, ""),
])
def test_proxies_are_chosen_as_by_other_programs(url: str, env: dict[str, str], proxy: str) -> None:
    assert proxy_for(url, env) == proxy


def test_the_first_directory_of_certificates_counts(tmp_path: Path) -> None:
    (tmp_path / "b" / "reg:5000").mkdir(parents=True)
    (tmp_path / "c" / "reg:5000").mkdir(parents=True)
    directories = tuple(str(tmp_path / name) for name in "abc")
    assert certificate_directory("reg:5000", directories) == str(tmp_path / "b" / "reg:5000")
    assert certificate_directory("other", directories) == ""
