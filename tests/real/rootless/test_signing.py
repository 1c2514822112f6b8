"""An ordinary user's keys, policy and places of signatures."""

from __future__ import annotations

import json

import pytest

from tests.support.signing import world_registry
from tests.support.users import HOME, User

_KEY = "%no-protection\nKey-Type: RSA\nKey-Length: 2048\nName-Email: MAIL\nExpire-Date: 0\n%commit\n"


@pytest.fixture(scope="module")
def signer(user: User) -> User:
    """The user with two keys in the usual place, ~/.gnupg."""
    for mail in ("dev@example.org", "other@example.org"):
        user.run("gpg", "--batch", "--full-gen-key", stdin=_KEY.replace("MAIL", mail).encode())
        user.run("gpg", "--batch", "--output", f"{mail}.gpg", "--export", mail)
    return user


def test_sign_and_verify(signer: User) -> None:
    registry = world_registry(signer.world)
    push = ("push", "-q", "--tls-verify=false", "--remove-signatures")
    pull = ("pull", "-q", "--tls-verify=false", "localhost:5000/signed:1")
    home = signer.world.path(HOME)
    try:
        signer.podling(*push, "--sign-by", "dev@example.org", "bb", "localhost:5000/signed:1")
        assert len(list(home.glob(".local/share/containers/sigstore/signed@sha256=*/signature-1"))) == 1
        policy = {"default": [{"type": "reject"}], "transports": {"docker": {"localhost:5000": [
            {"type": "signedBy", "keyType": "GPGKeys", "keyPath": f"{HOME}/dev@example.org.gpg"}]}}}
        signer.run("mkdir", "-p", ".config/containers")
        (home / ".config/containers/policy.json").write_text(json.dumps(policy))
        signer.podling(*pull)
        signer.podling("rmi", "localhost:5000/signed:1")
        (home / ".config/containers/policy.json").write_text(json.dumps(policy).replace("dev@", "other@"))
        assert "Source image rejected: Invalid GPG signature" in signer.podling(*pull, status=125)
        (home / ".config/containers/policy.json").write_text("{")
        assert f'invalid policy in "{HOME}/.config/containers/policy.json"' in signer.podling(*pull, status=125)
        signer.run("rm", ".config/containers/policy.json")
        signer.podling(*pull)
    finally:
        registry.terminate()
        registry.wait(10)
