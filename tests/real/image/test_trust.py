"""``image trust``: what Podman shows and sets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.sandbox import World
from tests.support.signing import GpgHome, new_key, public_pem, write_policy, write_registries_d

if TYPE_CHECKING:
    from collections.abc import Iterator

REGISTRIES_D = """\
default-docker: {sigstore: 'http://default'}
docker:
  quay.io: {lookaside: 'https://quay-sigs', lookaside-staging: 'file:///x'}
  registry.example.com/team: {sigstore-staging: 'file:///y'}
"""


@pytest.fixture(scope="module")
def trusting(shared_world: World) -> Iterator[World]:
    """A world with two keys and a policy of all kinds; gpg2, which Podman asks for, is gpg."""
    world = shared_world
    home = GpgHome(world, "dev")
    GpgHome(world, "other", mail="other@example.org")
    world.path("/run/both.gpg").write_bytes(world.path(home.public).read_bytes() + world.path("/run/other.gpg").read_bytes())
    world.path("/run/key.pub").write_bytes(public_pem(new_key("ecdsa")))
    world.run("mkdir", "/run/bin")
    world.run("ln", "-s", "/usr/bin/gpg", "/run/bin/gpg2")
    write_registries_d(world, REGISTRIES_D)
    write_policy(world, {
        "quay.io": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/run/dev.gpg"}],
        "quay.io/team": [{"type": "signedBy", "keyType": "GPGKeys", "keyPaths": ["/run/dev.gpg", "/run/other.gpg"]},
                         {"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/run/both.gpg"}],
        "registry.example.com/team/x": [{"type": "reject"}], "docker.io": [{"type": "sigstoreSigned", "keyPath": "/run/key.pub"}],
    }, default="reject", **{"docker-daemon": {"": [{"type": "insecureAcceptAnything"}]}, "dir": {"/a": [{"type": "reject"}]}})
    return world


def both(world: World, *argv: str) -> tuple[Any, Any]:
    """The same command of podling and of Podman."""
    path = {"PATH": f"/run/bin:{world.env['PATH']}"}
    return world.run("podling", *argv, check=False), world.podman(*argv, check=False, env=path)


@pytest.mark.parametrize("options", [(), ("--json",), ("--raw",), ("--noheading",), ("quay.io",)])
def test_what_is_shown(trusting: World, options: tuple[str, ...]) -> None:
    ours, theirs = both(trusting, "image", "trust", "show", *options)
    assert ours.returncode == theirs.returncode == 0
    if "--json" in options:
        assert json.loads(ours.stdout) == json.loads(theirs.stdout)
    assert ours.stdout == theirs.stdout


@pytest.mark.parametrize("argv", [
    ("-t", "reject", "default"), ("-t", "accept", "docker.io"), ("-f", "/run/dev.gpg", "new.example.com/x"),
    ("-f", "/run/dev.gpg", "-f", "/run/other.gpg", "quay.io"), ("-t", "sigstoreSigned", "-f", "/run/key.pub", "quay.io/sig"),
    ("-t", "accept", "localhost:5000"), ("-t", "reject", "/a"),
])
def test_what_is_set(trusting: World, argv: tuple[str, ...]) -> None:
    start = trusting.path("/etc/containers/policy.json").read_bytes()
    for name in ("ours", "theirs"):
        trusting.path(f"/run/{name}.json").write_bytes(start)
    ours = trusting.run("podling", "image", "trust", "set", "--policypath", "/run/ours.json", *argv, check=False)
    theirs = trusting.podman("image", "trust", "set", "--policypath", "/run/theirs.json", *argv, check=False)
    assert ours.returncode == theirs.returncode
    assert json.loads(trusting.path("/run/ours.json").read_bytes()) == json.loads(trusting.path("/run/theirs.json").read_bytes())


@pytest.mark.parametrize(("argv", "words"), [
    (("-t", "nonsense", "quay.io"), "invalid choice: nonsense (choose from 'accept', 'reject', 'signedBy', 'sigstoreSigned')"),
    (("quay.io",), "at least one public key must be defined for type 'signedBy'"),
    (("-t", "sigstoreSigned", "quay.io"), "at least one public key must be defined for type 'sigstoreSigned'"),
    (("-t", "accept", "-f", "/x", "quay.io"), "1 public keys unexpectedly provided for trust type accept"),
    (("-t", "accept", "quay io"), "invalid"),
])
def test_what_cannot_be_set(trusting: World, argv: tuple[str, ...], words: str) -> None:
    before = trusting.path("/etc/containers/policy.json").read_bytes()
    ours, theirs = both(trusting, "image", "trust", "set", *argv)
    assert ours.returncode == theirs.returncode == 125
    assert words in ours.stderr
    assert words in theirs.stderr
    assert trusting.path("/etc/containers/policy.json").read_bytes() == before


def test_a_first_policy(trusting: World) -> None:
    command = ("podling", "image", "trust", "set", "--policypath", "/run/new/policy.json", "-t", "accept")
    done = trusting.run(*command, "quay.io", check=False)
    assert done.returncode == 125
    assert "default trust policy must be set" in done.stderr
    trusting.run(*command, "default")
    trusting.run(*command, "quay.io")
    assert trusting.path("/run/new/policy.json").read_text() == """\
{
    "default": [
        {
            "type": "insecureAcceptAnything"
        }
    ],
    "transports": {
        "docker": {
            "quay.io": [
                {
                    "type": "insecureAcceptAnything"
                }
            ]
        }
    }
}"""


def test_the_groups_help(trusting: World) -> None:
    ours, theirs = both(trusting, "image", "trust", "--help")
    assert ours.stdout.replace("podling", "podman").rstrip() == theirs.stdout.rstrip()
    ours = trusting.run("podling", "image", "trust", "nonsense", check=False)
    assert ours.returncode == 125
    assert "unrecognized command `podling image trust nonsense`" in ours.stderr
    assert "trust" in trusting.run("podling", "image", "--help").stdout
