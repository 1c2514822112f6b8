"""Signatures with real programs: gpg, docker-registry, a web server; skopeo and Podman as second parties."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from podling.errors import SignatureRejected
from podling.image.signatures.gpg import Keyring
from tests.support.sandbox import World
from tests.support.signing import GpgHome, web_server, world_registry, write_policy, write_registries_d

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEMPORARY = "/run/temporary"                   # its own: other tests work in /tmp beside these
PUSH = ("push", "-q", "--tls-verify=false", "--remove-signatures")
STAGING = "/var/lib/containers/sigstore"
LOOKASIDE = f"default-docker:\n  sigstore: http://localhost:8000\n  sigstore-staging: file://{STAGING}\n"


class Signed:
    """A world with a registry, a web server for signatures, an image, and two keys."""

    def __init__(self, world: World, busybox: Path) -> None:
        self.world = world
        self.archive = str(busybox)
        self.servers = [world_registry(world), web_server(world, STAGING)]
        world.path(TEMPORARY).mkdir()
        self.dev = GpgHome(world, "dev")
        self.other = GpgHome(world, "other", mail="other@example.org")
        conf = world.path("/etc/containers/registries.conf.d/local.conf")
        conf.write_text('[[registry]]\nlocation = "localhost:5000"\ninsecure = true\n')
        world.podman("load", "-q", "-i", str(busybox))

    def reset(self) -> None:
        """What every test begins with."""
        write_policy(self.world)
        write_registries_d(self.world, LOOKASIDE)
        if self.podling("image", "exists", "bb", check=False).returncode:
            self.podling("load", "-q", "-i", self.archive)

    def close(self) -> None:
        for server in self.servers:
            server.terminate()
            server.wait(10)

    def podling(self, *argv: str, check: bool = True, key: GpgHome | None = None):
        return self.world.run("podling", *argv, check=check, env={"TMPDIR": TEMPORARY, **(key.env if key else {})})

    def push(self, name: str, *options: str) -> str:
        """Push an image signed by the first key; the digest."""
        self.podling(*PUSH, "--digestfile", "/run/digest", "--sign-by", self.dev.mail, *options, "bb",
                     f"localhost:5000/{name}", key=self.dev)
        return self.world.path("/run/digest").read_text()

    def signature(self, name: str, digest: str, number: int = 1) -> Path:
        """The file of a signature."""
        return self.world.path(f"{STAGING}/{name}@{digest.replace(':', '=')}/signature-{number}")

    def require(self, scope: str = "localhost:5000", *, key: str | None = None, **more: object) -> None:
        """A policy that asks for a signature of the first key, or of the one in this file."""
        write_policy(self.world, {scope: [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": key or self.dev.public, **more}]})

    def pull(self, name: str, *options: str, check: bool = True):
        return self.podling("pull", "--tls-verify=false", *options, f"localhost:5000/{name}", check=check)

    def refused(self, name: str) -> str:
        """What is said when a pull is refused, which leaves nothing behind."""
        before = self.state()
        done = self.pull(name, check=False)
        assert done.returncode == 125, done.stdout + done.stderr
        assert done.stdout == ""
        assert self.state() == before
        assert not list(self.world.path(TEMPORARY).iterdir())
        return done.stderr.partition("Error: ")[2]

    def state(self) -> object:
        """Images, and every file and directory of the store but the database's."""
        store = self.world.path("/var/lib/containers/podling")
        files = sorted(str(path) for path in store.rglob("*") if not path.name.startswith("podling.db") and "/diff/" not in str(path))
        return self.podling("images", "-a", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}").stdout, files


@pytest.fixture(scope="module")
def signing_world(shared_world: World, busybox: Path) -> Iterator[Signed]:
    made = Signed(shared_world, busybox)
    yield made
    made.close()


@pytest.fixture
def signed(signing_world: Signed) -> Signed:
    """The world of all tests, as each of them expects it."""
    signing_world.reset()
    return signing_world


def test_the_session(signed: Signed) -> None:
    """The session of the documents: sign, verify, and refuse what another key has signed."""
    world = signed.world
    write_policy(world)
    signed.podling("tag", "bb", "localhost:5000/alpine")
    said = signed.podling("push", "--tls-verify=false", "--sign-by", "dev@example.org", "localhost:5000/alpine", key=signed.dev).stderr
    assert said.splitlines()[-3:] == ["Writing manifest to image destination",
                                      "Creating signature: Signing image using simple signing", "Storing signatures"]
    digest = next(name for name in world.path(STAGING).iterdir() if name.name.startswith("alpine@sha256="))
    assert [path.name for path in digest.iterdir()] == ["signature-1"]
    signed.require()
    signed.podling("rmi", "localhost:5000/alpine")
    world.path("/run/web-8000.log").write_text("")
    signed.pull("alpine")
    log = world.path("/run/web-8000.log").read_text()
    assert f'"GET /{digest.name}/signature-1 HTTP/1.1" 200' in log
    assert f'"GET /{digest.name}/signature-2 HTTP/1.1" 404' in log
    signed.podling("rmi", "localhost:5000/alpine")
    signed.require(key=signed.other.public)
    said = signed.refused("alpine")
    assert "Source image rejected: Invalid GPG signature: " in said


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_what_is_not_signed_is_refused(signed: Signed) -> None:
    signed.podling(*PUSH, "bb", "localhost:5000/plain:1")
    signed.require()
    assert signed.refused("plain:1").strip() == "Source image rejected: A signature was required, but no signature exists"
    signed.require("localhost:5000/elsewhere")
    signed.pull("plain:1")
    signed.podling("rmi", "localhost:5000/plain:1")


def test_rejecting_needs_no_network(signed: Signed) -> None:
    write_policy(signed.world, {"localhost:5000": [{"type": "reject"}], "localhost:1": [{"type": "reject"}]})
    for name in ("localhost:5000/plain:1", "localhost:1/x"):
        done = signed.podling("pull", "--tls-verify=false", name, check=False)
        full = name if ":1" in name[-2:] else f"{name}:latest"
        assert done.returncode == 125
        assert f"Error: Source image rejected: Running image docker://{full} is rejected by policy." in done.stderr


def test_archives_carry_no_signatures(signed: Signed) -> None:
    key = [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": signed.dev.public}]
    accept = [{"type": "insecureAcceptAnything"}]
    write_policy(signed.world, default="reject", **{"docker-archive": {"": key}, "tarball": {"": key}})
    for argv in (("load", "-i", signed.archive), ("pull", f"docker-archive:{signed.archive}"), ("import", signed.archive)):
        done = signed.podling(*argv, check=False)
        assert done.returncode == 125
        assert "Source image rejected: A signature was required, but no signature exists" in done.stderr
    write_policy(signed.world, default="reject", **{"docker-archive": {"": accept}})
    signed.podling("load", "-q", "-i", signed.archive)
    done = signed.podling("import", signed.archive, check=False)
    assert f"Running image tarball:{signed.archive} is rejected by policy." in done.stderr
    write_policy(signed.world)


def test_a_server_that_redirects_or_fails(signed: Signed) -> None:
    """A web server with a mind of its own: it sends us on, or answers nonsense, or is not there."""
    digest = signed.push("moved:1")
    signed.require()
    script = signed.world.path("/run/server.py")
    script.write_text(REDIRECTING)
    server = signed.world.spawn("/usr/bin/python3", "/run/server.py")
    try:
        signed.world.wait_until(lambda: signed.world.run("curl", "-s", "http://localhost:8001/", check=False).returncode == 0, "it listens")
        for path, words in (("to", ""), ("loop", "the server answers 302"), ("broken", "the server answers 500"),
                            ("endless", "has more than 128 signatures"), ("large", "is longer than the 4194304 bytes")):
            write_registries_d(signed.world, f"default-docker: {{lookaside: 'http://localhost:8001/{path}'}}")
            if words:
                assert words in signed.refused("moved:1")
            else:
                signed.pull("moved:1")
                signed.podling("rmi", "localhost:5000/moved:1")
        write_registries_d(signed.world, "default-docker: {lookaside: 'http://localhost:8009'}")
        assert "reading signatures: http://localhost:8009/moved@" in signed.refused("moved:1")
    finally:
        server.terminate()
        server.wait(10)
        write_registries_d(signed.world, LOOKASIDE)
    assert digest


REDIRECTING = """
import http.server

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        kind, _, rest = self.path[1:].partition("/")
        body = {"endless": b"\\0simple-signing\\nx", "large": b"\\x90" * (4 << 20) + b"x"}.get(kind, b"")
        self.send_response({"to": 302, "loop": 302, "broken": 500}.get(kind, 200))
        if kind == "to":
            self.send_header("Location", f"http://localhost:8000/{rest}")
        if kind == "loop":
            self.send_header("Location", self.path)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(("127.0.0.1", 8001), Handler).serve_forever()
"""


def test_a_key_that_is_missing_or_none(signed: Signed) -> None:
    signed.push("missing:1")
    signed.require(key="/run/no-such-key.gpg")
    assert "Source image rejected: open /run/no-such-key.gpg: no such file or directory" in signed.refused("missing:1")
    signed.world.path("/run/nothing.gpg").write_text("this is no key\n")
    signed.require(key="/run/nothing.gpg")
    assert "Source image rejected: No public keys imported" in signed.refused("missing:1")


def test_a_signature_for_another_image_or_name(signed: Signed) -> None:
    one, two = signed.push("names/one:1"), signed.push("names/two:1", "--compression-format", "zstd", "--force-compression")
    assert one != two
    signed.require()
    signed.signature("names/two", two).write_bytes(signed.signature("names/one", one).read_bytes())
    assert f"Signature for digest {one} does not match" in signed.refused("names/two:1")
    # the same manifest under another name
    signed.world.run("skopeo", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", "--preserve-digests",
                     "--remove-signatures", "docker://localhost:5000/names/one:1", "docker://localhost:5000/names/three:1")
    copied = signed.signature("names/three", one)
    copied.parent.mkdir(parents=True)
    copied.write_bytes(signed.signature("names/one", one).read_bytes())
    assert 'Signature for identity "localhost:5000/names/one:1" is not accepted' in signed.refused("names/three:1")
    for identity, accepted in (({"type": "exactReference", "dockerReference": "localhost:5000/names/one:1"}, True),
                               ({"type": "exactRepository", "dockerRepository": "localhost:5000/names/one"}, True),
                               ({"type": "remapIdentity", "prefix": "localhost:5000/names/three",
                                 "signedPrefix": "localhost:5000/names/one"}, True),
                               ({"type": "matchRepository"}, False), ({"type": "matchExact"}, False)):
        signed.require(signedIdentity=identity)
        if accepted:
            signed.pull("names/three:1")
            signed.podling("rmi", "localhost:5000/names/three:1")
        else:
            assert "is not accepted" in signed.refused("names/three:1")
    signed.require()
    signed.pull(f"names/one@{one}")                  # by digest any name in the repository fits
    signed.podling("rmi", f"localhost:5000/names/one@{one}")
    signed.podling("load", "-q", "-i", signed.archive)


def test_damaged_and_foreign_signatures(signed: Signed) -> None:
    digest = signed.push("damaged:1")
    signed.require()
    path = signed.signature("damaged", digest)
    good = path.read_bytes()
    text = json.loads(signed.dev.gpg("--decrypt", "/proc/self/fd/0", stdin=good, check=False).stdout)
    assert text["critical"] == {"identity": {"docker-reference": "localhost:5000/damaged:1"}, "type": "atomic container signature",
                                "image": {"docker-manifest-digest": digest}}

    def said(**changes: object) -> bytes:
        return json.dumps({**text, **changes}).encode()

    plain = signed.dev.sign(said(), "--compress-level", "0")
    flipped = bytearray(plain)
    flipped[plain.index(b"damaged")] ^= 1
    stranger = signed.other.sign(said())
    encrypted = ("--recipient", signed.dev.mail, "--trust-model", "always", "--encrypt")
    wrong_type = {**text["critical"], "type": "cosign container image signature"}
    for content, why in (
        (bytes(flipped), "Invalid GPG signature: it does not fit what it signs"),
        (stranger, "Invalid GPG signature: it was made by a key that is not trusted"),
        (signed.dev.sign(b"not JSON"), "Invalid signature: "),
        (signed.dev.sign(said(more=1)), "Invalid signature: the signed text: Unknown key 'more'"),
        (signed.dev.sign(said(critical=wrong_type)), "Invalid signature: Unrecognized signature type"),
        (signed.dev.sign(said() + said()), "Invalid signature: "),
        (plain + plain, "Invalid GPG signature: "), (good[:-20], "Invalid GPG signature: "),
        (signed.dev.sign(said(), "--detach-sign"), "Invalid GPG signature: "),
        (b"\0simple-signing\n" + signed.dev.sign(said(), *encrypted), "Invalid GPG signature: "),
    ):
        path.write_bytes(content)
        assert f"Source image rejected: {why}" in signed.refused("damaged:1"), why
    path.write_bytes(b"<html>not found</html>")
    assert "unrecognized signature format, starting with binary 0x3c" in signed.refused("damaged:1")
    path.write_bytes(stranger)
    path.with_name("signature-2").write_bytes(bytes(flipped))
    assert "None of the signatures were accepted, reasons: Invalid GPG signature: it was made by" in signed.refused("damaged:1")
    path.with_name("signature-3").write_bytes(good)
    signed.pull("damaged:1")                         # one good signature is enough
    signed.podling("rmi", "localhost:5000/damaged:1")


def test_keys_that_expired_or_were_revoked(signed: Signed) -> None:
    world = signed.world
    old = GpgHome(world, "old", mail="old@example.org")
    write_policy(world)
    signed.podling(*PUSH, "--sign-by", old.mail, "bb", "localhost:5000/aged:1", key=old)
    signed.require(key=old.public)
    signed.pull("aged:1")
    signed.podling("rmi", "localhost:5000/aged:1")
    old.gpg("--quick-set-expire", old.fingerprint, "seconds=1")
    old.export()
    world.run("sleep", "2.1")                        # the last second still counts, and seconds are cut off
    assert "Invalid GPG signature: the key that made it has expired" in signed.refused("aged:1")
    old.gpg("--quick-set-expire", old.fingerprint, "0")
    old.export()
    signed.pull("aged:1")
    signed.podling("rmi", "localhost:5000/aged:1")
    revocation = world.path(f"{old.path}/openpgp-revocs.d/{old.fingerprint}.rev").read_text().replace(":-----BEGIN", "-----BEGIN")
    old.gpg("--import", stdin=revocation.encode())
    old.export()
    assert "Invalid GPG signature: the key that made it was revoked" in signed.refused("aged:1")


def test_a_key_with_a_passphrase(signed: Signed) -> None:
    locked = GpgHome(signed.world, "locked", mail="locked@example.org", passphrase="open sesame")
    locked.world.run("gpgconf", "--kill", "gpg-agent", env=locked.env)
    signed.world.path("/run/passphrase").write_text("open sesame\nanother line\n")
    signed.world.path("/run/wrong").write_text("close sesame\n")
    write_policy(signed.world)
    command = (*PUSH, "--sign-by", locked.mail, "--sign-passphrase-file")
    done = signed.podling(*command, "/run/wrong", "bb", "localhost:5000/locked:1", key=locked, check=False)
    assert done.returncode == 125
    assert "signing with the key locked@example.org: gpg: signing failed: Bad passphrase" in done.stderr
    assert signed.world.run("skopeo", "inspect", "--tls-verify=false", "docker://localhost:5000/locked:1", check=False).returncode != 0
    signed.podling(*command, "/run/passphrase", "bb", "localhost:5000/locked:1", key=locked)
    signed.require(key=locked.public)
    signed.pull("locked:1")
    signed.podling("rmi", "localhost:5000/locked:1")


def test_no_key_no_place_to_write(signed: Signed) -> None:
    write_policy(signed.world)
    done = signed.podling(*PUSH, "--sign-by", "nobody@example.org", "bb", "localhost:5000/n:1", check=False)
    assert done.returncode == 125
    assert "signing with the key nobody@example.org: " in done.stderr
    write_registries_d(signed.world, "default-docker: {lookaside: 'http://localhost:8000'}")
    try:
        done = signed.podling(*PUSH, "--sign-by", signed.dev.mail, "bb", "localhost:5000/n:1", check=False)
    finally:
        write_registries_d(signed.world, LOOKASIDE)
    assert done.returncode == 125
    assert "writing directly to a http lookaside http://localhost:8000 is not supported" in done.stderr
    assert signed.world.run("skopeo", "inspect", "--tls-verify=false", "docker://localhost:5000/n:1", check=False).returncode != 0


@pytest.mark.parametrize("content", [None, b"{", b'{"default": []}', b'{"default": [{"type": "insecureAcceptAnything", "keyPath": "/x"}]}'])
def test_without_a_policy_nothing_comes_in(signed: Signed, content: bytes | None) -> None:
    path = signed.world.path("/etc/containers/policy.json")
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    try:
        for argv in (("pull", "--tls-verify=false", "localhost:5000/plain:1"), ("load", "-i", signed.archive),
                     ("import", signed.archive), ("pull", f"docker-archive:{signed.archive}"),
                     ("run", "--rm", "localhost:5000/plain:1")):
            done = signed.podling(*argv, check=False)
            assert done.returncode == 125, argv
            assert "/etc/containers/policy.json" in done.stderr
            assert "man 5 containers-policy.json" in done.stderr
    finally:
        write_policy(signed.world)


# --- second parties ---------------------------------------------------------------------------------------------------


def test_what_we_sign_they_verify(signed: Signed) -> None:
    digest = signed.push("ours:1")
    world = signed.world
    world.path("/run/ours").write_bytes(signed.signature("ours", digest).read_bytes())
    world.path("/run/manifest").write_text(
        world.run("skopeo", "inspect", "--raw", "--tls-verify=false", "docker://localhost:5000/ours:1").stdout)
    said = world.run("skopeo", "standalone-verify", "/run/manifest", "localhost:5000/ours:1", signed.dev.fingerprint, "/run/ours",
                     env=signed.dev.env).stdout
    assert said.strip() == f"Signature verified, digest {digest}"
    signed.require()
    world.podman("pull", "-q", "--tls-verify=false", "localhost:5000/ours:1")
    world.podman("rmi", "localhost:5000/ours:1")
    signed.require(key=signed.other.public)
    assert "Source image rejected: Invalid GPG signature" in world.podman(
        "pull", "-q", "--tls-verify=false", "localhost:5000/ours:1", check=False).stderr


@pytest.mark.parametrize("who", ["skopeo", "podman", "skopeo standalone"])
def test_what_they_sign_we_verify(signed: Signed, who: str) -> None:
    world, name = signed.world, f"theirs/{who.replace(' ', '-')}:1"
    write_policy(world)
    if who == "podman":
        world.podman(*PUSH, "--sign-by", signed.dev.mail, "bb", f"localhost:5000/{name}", env=signed.dev.env)
    else:
        signed.podling(*PUSH, "bb", "localhost:5000/unsigned:1")
        sign = ("--sign-by", signed.dev.fingerprint) if who == "skopeo" else ()
        world.run("skopeo", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", *sign, "docker://localhost:5000/unsigned:1",
                  f"docker://localhost:5000/{name}", env=signed.dev.env)
    if who == "skopeo standalone":
        raw = world.run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://localhost:5000/{name}").stdout
        world.path("/run/manifest").write_text(raw)
        world.run("skopeo", "standalone-sign", "/run/manifest", f"localhost:5000/{name}", signed.dev.fingerprint, "-o", "/run/signature",
                  env=signed.dev.env)
        digest = world.run("skopeo", "manifest-digest", "/run/manifest").stdout.strip()
        place = signed.signature(name.removesuffix(":1"), digest)
        place.parent.mkdir(parents=True)
        place.write_bytes(world.path("/run/signature").read_bytes())
    signed.require()
    signed.pull(name)
    signed.podling("rmi", f"localhost:5000/{name}")
    signed.require(key=signed.other.public)
    assert "Invalid GPG signature" in signed.refused(name)


def test_image_sign(signed: Signed) -> None:
    write_policy(signed.world)
    signed.podling(*PUSH, "bb", "localhost:5000/later:1")
    signed.podling("image", "sign", "--sign-by", signed.dev.mail, "docker://localhost:5000/later:1", key=signed.dev)
    signed.podling("image", "sign", "--sign-by", signed.other.mail, "docker://localhost:5000/later:1", key=signed.other)
    found = next(path for path in signed.world.path(STAGING).iterdir() if path.name.startswith("later@"))
    assert sorted(path.name for path in found.iterdir()) == ["signature-1", "signature-2"]
    for home in (signed.dev, signed.other):
        signed.require(key=home.public)
        signed.pull("later:1")
        signed.podling("rmi", "localhost:5000/later:1")
        signed.world.podman("pull", "-q", "--tls-verify=false", "localhost:5000/later:1")
        signed.world.podman("rmi", "localhost:5000/later:1")
    signed.world.path("/run/elsewhere").mkdir()
    signed.podling("image", "sign", "--sign-by", signed.dev.mail, "-d", "/run/elsewhere", "docker://localhost:5000/later:1", key=signed.dev)
    assert [path.name for path in signed.world.path("/run/elsewhere").iterdir()] == [found.name]
    for argv, words in ((("--sign-by", "x", "later:1"), 'invalid image name "later:1", unknown transport'),
                        (("later:1",), "no identity provided"),
                        (("--sign-by", "x", "-a", "docker://localhost:5000/later:1"), "is not a multi-architecture image")):
        done = signed.podling("image", "sign", *argv, check=False)
        assert done.returncode == 125
        assert words in done.stderr


def test_signatures_stay_with_the_image(signed: Signed) -> None:
    world = signed.world
    signed.push("kept:1")
    signed.require()
    said = signed.pull("kept:1").stderr
    assert "Getting image source signatures\nChecking if image destination supports signatures\n" in said
    done = signed.podling("push", "--tls-verify=false", "localhost:5000/kept:1", "localhost:5000/kept:2", check=False)
    assert done.returncode == 125
    assert "Would invalidate signatures" in done.stderr
    world.podman("pull", "-q", "--tls-verify=false", "localhost:5000/kept:1")
    theirs = world.podman("push", "--tls-verify=false", "localhost:5000/kept:1", "localhost:5000/kept:2", check=False)
    assert theirs.returncode == 125
    assert "Would invalidate signatures" in theirs.stderr
    world.podman("rmi", "localhost:5000/kept:1")
    signed.podling(*PUSH, "localhost:5000/kept:1", "localhost:5000/kept:2")
    signed.podling("rmi", "localhost:5000/kept:1")


def test_podmans_store_has_its_signatures(signed: Signed) -> None:
    """An image of Podman's own store, which is read in place, is as signed as one of ours."""
    world = signed.world
    digest = signed.push("foreign:1")
    signed.require()
    world.podman("pull", "-q", "--tls-verify=false", "localhost:5000/foreign:1")
    signed.podling("rmi", "bb")
    world.path("/run/storage.conf").write_text('[storage]\ndriver = "overlay"\n[storage.options]\n'
                                               'additionalimagestores = ["/var/lib/containers/storage"]\n')
    push = ("podling", "push", "-q", "--tls-verify=false", "localhost:5000/foreign:1", "localhost:5000/foreign:2")
    done = world.run(*push, env={"CONTAINERS_STORAGE_CONF": "/run/storage.conf"}, check=False)
    assert done.returncode == 125
    assert "Would invalidate signatures" in done.stderr
    world.run(*push[:2], "--remove-signatures", *push[2:], env={"CONTAINERS_STORAGE_CONF": "/run/storage.conf"})
    world.podman("rmi", "localhost:5000/foreign:1")
    assert digest


def test_directories_carry_signatures(signed: Signed) -> None:
    world = signed.world
    signed.push("dir:1")
    world.run("skopeo", "copy", "-q", "--src-tls-verify=false", "docker://localhost:5000/dir:1", "dir:/run/signed-directory")
    assert world.path("/run/signed-directory/signature-1").exists()
    key = {"type": "signedBy", "keyType": "GPGKeys", "keyPath": signed.dev.public}
    exact = {**key, "signedIdentity": {"type": "exactReference", "dockerReference": "localhost:5000/dir:1"}}
    write_policy(world, default="reject", dir={"/run/signed-directory": [exact]})
    image = signed.podling("pull", "-q", "dir:/run/signed-directory").stdout.strip()
    assert signed.podling("load", "-q", "-i", "/run/signed-directory").stdout.startswith("Loaded image: sha256:")
    world.path("/run/a-link").symlink_to("/run/signed-directory")
    signed.podling("pull", "-q", "dir:/run/a-link")
    write_policy(world, default="insecureAcceptAnything", dir={"/run": [key]})
    done = signed.podling("pull", "-q", "dir:/run/signed-directory", check=False)
    assert "Docker reference match attempted on image dir:/run/signed-directory with no known Docker reference identity" in done.stderr
    write_policy(world, default="insecureAcceptAnything", dir={"/run": [exact]})
    world.path("/run/signed-directory/signature-1").unlink()
    done = signed.podling("pull", "-q", "dir:/run/signed-directory", check=False)
    assert "A signature was required, but no signature exists" in done.stderr
    assert image


def test_a_policy_by_option(signed: Signed) -> None:
    signed.podling(*PUSH, "bb", "localhost:5000/plain:1")
    signed.world.path("/run/accept.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    write_policy(signed.world, default="reject")
    assert "is rejected by policy" in signed.refused("plain:1")
    signed.pull("plain:1", "--signature-policy", "/run/accept.json")
    signed.podling("rmi", "localhost:5000/plain:1")
    write_policy(signed.world)


def test_lists_are_signed_with_their_images(signed: Signed) -> None:
    world = signed.world
    write_policy(world)
    signed.podling("manifest", "create", "list", "bb")
    push = ("manifest", "push", "-q", "--tls-verify=false")
    signed.podling(*push, "--sign-by", signed.dev.mail, "list", "localhost:5000/list:1", key=signed.dev)
    assert len([path for path in world.path(STAGING).iterdir() if path.name.startswith("list@")]) == 2
    signed.podling("manifest", "rm", "list")
    signed.require()
    signed.pull("list:1")
    signed.podling("rmi", "localhost:5000/list:1")
    world.podman("pull", "-q", "--tls-verify=false", "localhost:5000/list:1")
    world.podman("rmi", "localhost:5000/list:1")
    # a signature of the list alone is none of its images
    signed.podling("load", "-q", "-i", signed.archive)
    signed.podling("manifest", "create", "list", "bb")
    signed.podling(*push, "list", "localhost:5000/list-alone:1")
    signed.podling("image", "sign", "--sign-by", signed.dev.mail, "docker://localhost:5000/list-alone:1", key=signed.dev)
    assert "A signature was required, but no signature exists" in signed.refused("list-alone:1")
    signed.podling("image", "sign", "--all", "--sign-by", signed.dev.mail, "docker://localhost:5000/list-alone:1", key=signed.dev)
    signed.pull("list-alone:1")
    signed.podling("rmi", "localhost:5000/list-alone:1", "list")


def test_artifacts_are_signed_and_asked_for_signatures(signed: Signed) -> None:
    signed.world.path("/run/file").write_text("content")
    signed.podling("artifact", "add", "localhost:5000/art:1", "/run/file")
    signed.podling("artifact", "add", "localhost:5000/art:bare", "/run/registry-5000.yml")
    push = ("artifact", "push", "-q", "--tls-verify=false")
    signed.podling(*push, "--sign-by", signed.dev.mail, "localhost:5000/art:1", key=signed.dev)
    signed.podling(*push, "localhost:5000/art:bare")
    signed.podling("artifact", "rm", "-a")
    signed.require()
    signed.podling("artifact", "pull", "-q", "--tls-verify=false", "localhost:5000/art:1")
    refused = signed.podling("artifact", "pull", "-q", "--tls-verify=false", "localhost:5000/art:bare", check=False)
    assert "A signature was required, but no signature exists" in refused.stderr
    signed.require(key=signed.other.public)
    refused = signed.podling("artifact", "pull", "-q", "--tls-verify=false", "localhost:5000/art:1", check=False)
    assert "Invalid GPG signature" in refused.stderr
    signed.podling("artifact", "rm", "-a")


def test_only_what_is_signed_is_read(signed: Signed) -> None:
    """However signed and unsigned packets are put together, gpg's answer is what was signed, or it is refused."""
    evil, said = b"evil", b"signed"
    signed.dev.gpg("--store", "--output", "/run/stored", stdin=evil)
    signed.dev.gpg("-z0", "--store", "--output", "/run/stored0", stdin=evil)
    pieces = {"good": signed.dev.sign(said), "good0": signed.dev.sign(said, "-z0"), "detached": signed.dev.sign(said, "--detach-sign"),
              "stored": signed.world.path("/run/stored").read_bytes(), "stored0": signed.world.path("/run/stored0").read_bytes()}
    answers = signed.world.call(_verify_pairs, signed.world.path(signed.dev.public).read_bytes(), pieces)
    assert answers["good"] == answers["good0"] == said
    assert {answer for answer in answers.values() if answer is not None} == {said}
    assert all(answers[f"{one} {other}"] is None for one in ("stored", "stored0", "detached") for other in pieces)


def _verify_pairs(key: bytes, pieces: dict[str, bytes]) -> dict[str, bytes | None]:
    """What is taken as signed of each piece and of each two of them; None where it is refused."""
    texts = {**pieces, **{f"{one} {other}": pieces[one] + pieces[other] for one in pieces for other in pieces}}
    found: dict[str, bytes | None] = {}
    with Keyring([key]) as ring:
        for name, text in texts.items():
            try:
                found[name] = ring.verify(text).content
            except SignatureRejected:
                found[name] = None
    return found
