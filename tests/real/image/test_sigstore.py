"""sigstore's signatures in a real registry; skopeo and Podman as second parties."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from podling.image.remote import Access
from podling.image.signatures import attachments
from tests.support import sigstore
from tests.support.sandbox import CHECKOUT, World
from tests.support.signing import cosign_pem, new_key, public_pem, world_registry, write_policy, write_registries_d
from tests.support.sigstore import ISSUER, MAIL, Sigstore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from podling.image.signatures.stored import Signature

HOST = "localhost:5000"
PUSH = ("push", "-q", "--tls-verify=false", "--remove-signatures", "--digestfile", "/run/digest")
SIGN = ("--sign-by-sigstore-private-key", "/run/key", "--sign-passphrase-file", "/run/passphrase")
ATTACHED = "docker:\n  localhost:5000:\n    use-sigstore-attachments: true\n"


class Attached:
    """A world with a registry and an image; the key that signs is changed by tests."""

    def __init__(self, world: World, busybox: Path) -> None:
        self.world = world
        self.server = world_registry(world)
        write_registries_d(world, ATTACHED)
        world.path("/run/passphrase").write_text("secret\n")
        self.podling("load", "-q", "-i", str(busybox))
        self.use("ecdsa")

    def use(self, kind: str) -> Any:
        """Make a new key of this kind, and a policy that asks for it."""
        key = new_key(kind)
        self.world.path("/run/key").write_bytes(cosign_pem(key, "secret"))
        self.world.path("/run/key.pub").write_bytes(public_pem(key))
        self.require({"keyPath": "/run/key.pub"})
        return key

    def require(self, requirement: dict[str, Any]) -> None:
        write_policy(self.world, {HOST: [{"type": "sigstoreSigned", **requirement}]})

    def podling(self, *argv: str, check: bool = True) -> Any:
        return self.world.run("podling", *argv, check=check)

    def push(self, name: str, *options: str) -> str:
        """Push the image; its digest."""
        self.podling(*PUSH, *options, "bb", f"{HOST}/{name}")
        return self.world.path("/run/digest").read_text()

    def accepted(self, name: str) -> None:
        self.podling("pull", "-q", "--tls-verify=false", f"{HOST}/{name}")
        self.podling("rmi", f"{HOST}/{name}")

    def refused(self, name: str) -> str:
        done = self.podling("pull", "-q", "--tls-verify=false", f"{HOST}/{name}", check=False)
        assert done.returncode == 125
        assert self.podling("image", "exists", f"{HOST}/{name}", check=False).returncode == 1
        return done.stderr

    def attach(self, name: str, digest: str, signature: Signature) -> None:
        """Put a signature into the registry."""
        self.world.call(_attach, name, digest, signature)


def _attach(name: str, digest: str, signature: Signature) -> None:
    registry = Access(insecure=True).open(HOST)
    registry.ping()
    attachments.write(registry, name, digest, [signature])
    registry.close()


@pytest.fixture(scope="module")
def attached(shared_world: World, busybox: Path) -> Iterator[Attached]:
    made = Attached(shared_world, busybox)
    yield made
    made.server.terminate()
    made.server.wait(10)


NEWER = CHECKOUT / ".cache/skopeo/skopeo"         # unpacked by `make setup` where the host's is built without sigstore
SKOPEO = os.environ.get("PODLING_TEST_SKOPEO") or (str(NEWER) if NEWER.exists() else "skopeo")


def skopeo(attached: Attached, *argv: str, check: bool = True) -> Any:
    """Run a skopeo that knows sigstore, 1.13 or later."""
    done = attached.world.run(SKOPEO, *argv, check=False)
    if "sigstore disabled" in done.stderr:
        pytest.skip(f"{SKOPEO} is built without sigstore; scripts/newer-skopeo gets another")
    assert done.returncode == 0 or not check, done.stderr
    return done


@pytest.mark.parametrize("kind", ["ecdsa", "rsa", "ed25519"])
def test_what_we_sign_we_verify(attached: Attached, kind: str) -> None:
    attached.use(kind)
    digest = attached.push(f"own/{kind}:1", *SIGN)
    raw = json.loads(attached.world.run("skopeo", "inspect", "--raw", "--tls-verify=false",
                                        f"docker://{HOST}/own/{kind}:{digest.replace(':', '-')}.sig").stdout)
    assert raw["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    assert [layer["mediaType"] for layer in raw["layers"]] == ["application/vnd.dev.cosign.simplesigning.v1+json"]
    assert list(raw["layers"][0]["annotations"]) == ["dev.cosignproject.cosign/signature"]
    attached.accepted(f"own/{kind}:1")
    attached.use(kind)
    assert "Source image rejected: cryptographic signature verification failed" in attached.refused(f"own/{kind}:1")


@pytest.mark.parametrize("kind", ["ecdsa", "rsa", "ed25519"])
def test_what_we_sign_they_verify(attached: Attached, kind: str) -> None:
    attached.use(kind)
    attached.push(f"ours/{kind}:1", *SIGN)
    copy = ("copy", "-q", "--src-tls-verify=false", f"docker://{HOST}/ours/{kind}:1", f"dir:/run/copied-{kind}")
    skopeo(attached, *copy)
    signature = attached.world.path(f"/run/copied-{kind}/signature-1").read_bytes()
    assert signature.startswith(b"\0sigstore-json\n")
    # as dir: it comes in under the same policy
    identity = {"type": "exactReference", "dockerReference": f"{HOST}/ours/{kind}:1"}
    write_policy(attached.world, default="reject", dir={"/run": [
        {"type": "sigstoreSigned", "keyPath": "/run/key.pub", "signedIdentity": identity}]})
    attached.podling("pull", "-q", f"dir:/run/copied-{kind}")
    attached.use(kind)
    assert "Source image rejected" in skopeo(attached, *copy, check=False).stderr


def test_what_they_sign_we_verify(attached: Attached) -> None:
    attached.use("ecdsa")
    attached.push("unsigned:1")
    write_policy(attached.world)
    skopeo(attached, "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", *SIGN, f"docker://{HOST}/unsigned:1",
           f"docker://{HOST}/theirs:1")
    attached.require({"keyPath": "/run/key.pub"})
    attached.accepted("theirs:1")
    attached.use("ecdsa")
    assert "cryptographic signature verification failed" in attached.refused("theirs:1")


def test_what_is_not_there(attached: Attached) -> None:
    attached.use("ecdsa")
    attached.push("plain:1", "--compression-format", "zstd", "--force-compression")
    assert "Source image rejected: A signature was required, but no signature exists" in attached.refused("plain:1")
    write_registries_d(attached.world, "docker: {}")
    try:
        done = attached.podling(*PUSH, *SIGN, "bb", f"{HOST}/off:1", check=False)
    finally:
        write_registries_d(attached.world, ATTACHED)
    assert done.returncode == 125
    assert "writing sigstore attachments is disabled by configuration" in done.stderr
    attached.world.path("/run/wrong").write_text("guess")
    done = attached.podling(*PUSH, *SIGN[:-1], "/run/wrong", "bb", f"{HOST}/off:1", check=False)
    assert "/run/key: decrypt: the passphrase is wrong" in done.stderr
    done = attached.podling(*PUSH, *SIGN, "--sign-by", "x", "bb", f"{HOST}/off:1", check=False)
    assert "only one of --sign-by and sign-by-sigstore-private-key" in done.stderr
    assert attached.world.run("skopeo", "inspect", "--tls-verify=false", f"docker://{HOST}/off:1", check=False).returncode != 0


def test_signatures_gather(attached: Attached) -> None:
    """Another key's signature is added, the same one is not there twice (ECDSA's differ each time)."""
    attached.use("ed25519")
    digest = attached.push("many:1", *SIGN)
    first = attached.world.path("/run/key.pub").read_bytes()
    attached.use("rsa")
    assert attached.push("many:1", *SIGN) == digest
    raw = json.loads(attached.world.run("skopeo", "inspect", "--raw", "--tls-verify=false",
                                        f"docker://{HOST}/many:{digest.replace(':', '-')}.sig").stdout)
    assert len(raw["layers"]) == 2
    attached.accepted("many:1")
    attached.world.path("/run/key.pub").write_bytes(first)
    attached.accepted("many:1")


def test_without_a_key_of_ones_own(attached: Attached) -> None:
    """Certificates of a Fulcio, a promise of a Rekor, both made here."""
    write_policy(attached.world)
    world, authority = attached.world, Sigstore()
    digest = attached.push("keyless:1")
    attached.attach("keyless", digest, authority.sign(digest, f"{HOST}/keyless:1"))
    world.path("/run/fulcio.pem").write_bytes(sigstore.pem(authority.root))
    world.path("/run/rekor.pub").write_bytes(sigstore.pem(authority.log_key))
    theirs = ("copy", "-q", "--src-tls-verify=false", f"docker://{HOST}/keyless:1", "dir:/run/copied-keyless")
    fulcio = {"caPath": "/run/fulcio.pem", "oidcIssuer": ISSUER, "subjectEmail": MAIL}
    attached.require({"fulcio": fulcio, "rekorPublicKeyPath": "/run/rekor.pub"})
    attached.accepted("keyless:1")
    said = world.run(SKOPEO, *theirs, check=False)
    if "Unknown key" not in said.stderr:                  # older ones know keys only
        assert said.returncode == 0, said.stderr
    attached.require({"fulcio": {**fulcio, "subjectEmail": "other@example.org"}, "rekorPublicKeyPath": "/run/rekor.pub"})
    assert 'Required email "other@example.org" not found' in attached.refused("keyless:1")
    world.path("/run/rekor.pub").write_bytes(sigstore.pem(sigstore.new_key()))
    attached.require({"fulcio": fulcio, "rekorPublicKeyPath": "/run/rekor.pub"})
    assert "verification of Rekor SET failed" in attached.refused("keyless:1")
    data = base64.b64encode(sigstore.pem(authority.log_key)).decode()
    attached.require({"fulcio": fulcio, "rekorPublicKeyData": data})
    attached.accepted("keyless:1")
    write_policy(world)


def test_a_file_of_parameters(attached: Attached) -> None:
    attached.use("ecdsa")
    attached.world.path("/run/params.yaml").write_text("privateKeyFile: /run/key\nprivateKeyPassphraseFile: /run/passphrase\n")
    attached.push("params:1", "--sign-by-sigstore", "/run/params.yaml")
    attached.accepted("params:1")
    attached.world.path("/run/params.yaml").write_text("privatekeyfile: /run/key\n")
    done = attached.podling(*PUSH, "--sign-by-sigstore", "/run/params.yaml", "bb", f"{HOST}/params:2", check=False)
    assert done.returncode == 125
    assert "sigstore parameters /run/params.yaml: unknown key 'privatekeyfile'" in done.stderr
