"""Logins that Podman reads and we wrote, and the other way round."""

from __future__ import annotations

import json
import os

import pytest

from podling.config import auth


@pytest.fixture
def where(world):
    """A file of logins in the world, by its path here; Podman there calls it /run/auth.json."""
    return auth.AuthFiles(main=str(world.path("/run/auth.json")))


def get_login(world, key):
    return world.podman("login", "--authfile", "/run/auth.json", "--get-login", key, check=False).stdout.strip()


def test_podman_reads_what_we_wrote(world, where):
    auth.store(where, "reg.example.com", "host-user", "pw")
    auth.store(where, "reg.example.com/team", "team-user", "p:w")
    assert get_login(world, "reg.example.com") == "host-user"
    assert get_login(world, "reg.example.com/team") == "team-user"


def test_podman_logs_out_what_we_logged_in(world, where):
    auth.store(where, "a.example.com", "a", "pw")
    auth.store(where, "b.example.com", "b", "pw")
    world.podman("logout", "--authfile", "/run/auth.json", "a.example.com")
    assert auth.logins(where) == {"b.example.com": "b"}
    auth.remove(where, "b.example.com")
    assert get_login(world, "b.example.com") == ""


def test_our_file_is_byte_for_byte_podman_s(world, where):
    """Podman writes the file anew when it logs out of something."""
    for registry in ("b.example.com", "a.example.com", "c.example.com"):
        auth.store(where, registry, "me", "pw")
    world.podman("logout", "--authfile", "/run/auth.json", "c.example.com")
    with open(where.main, encoding="utf-8") as file:
        theirs = file.read()
    os.unlink(where.main)
    for registry in ("a.example.com", "b.example.com"):
        auth.store(where, registry, "me", "pw")
    with open(where.main, encoding="utf-8") as file:
        assert file.read() == theirs


def test_the_mode_stays_private(world, where):
    auth.store(where, "a.example.com", "a", "pw")
    world.podman("logout", "--authfile", "/run/auth.json", "a.example.com")
    auth.store(where, "b.example.com", "b", "pw")
    assert os.stat(where.main).st_mode & 0o777 == 0o600
    with open(where.main, encoding="utf-8") as file:
        assert list(json.load(file)["auths"]) == ["b.example.com"]
