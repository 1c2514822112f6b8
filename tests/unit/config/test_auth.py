"""Logins in files and in credential helpers, which here are shell scripts."""

from __future__ import annotations

import base64
import json
import os
import threading

import pytest

from podling.config import auth
from podling.config.auth import AuthFiles, Credentials
from podling.errors import Corrupt, InvalidArgument, NotFound, ProgramFailed, Unsupported


def entry(user, password):
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def where(tmp_path):
    return AuthFiles(main=f"{tmp_path}/run/auth.json", others=(f"{tmp_path}/config/auth.json", f"{tmp_path}/docker/config.json",
                                                               f"{tmp_path}/.dockercfg"))


def put(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(content if isinstance(content, str) else json.dumps(content))


def login(found):
    return (found.username, found.password) if found else None


@pytest.fixture
def helper(tmp_path, monkeypatch):
    """docker-credential-fake keeps one login a server in a directory; the calls are logged."""
    directory = tmp_path / "bin"
    directory.mkdir()
    script = directory / "docker-credential-fake"
    script.write_text(f"""#!/bin/sh
        read -r line || true
        echo "$1 $line" >> {tmp_path}/calls
        case $1 in
        get) server=$(echo "$line" | tr / _)
            if [ "$line" = broken.io ]; then echo "the keyring is locked"; exit 1; fi
            if [ ! -e {tmp_path}/$server ]; then echo "credentials not found in native keychain"; exit 1; fi
            cat {tmp_path}/$server;;
        esac
    """)
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    (tmp_path / "kept.io").write_text('{"ServerURL":"kept.io","Username":"hu","Secret":"hp"}')
    (tmp_path / "token.io").write_text('{"ServerURL":"token.io","Username":"<token>","Secret":"tt"}')
    (tmp_path / "https:__index.docker.io_v1_").write_text('{"ServerURL":"x","Username":"hub","Secret":"pw"}')
    (tmp_path / "odd.io").write_text("[]")
    return lambda: (tmp_path / "calls").read_text().splitlines() if (tmp_path / "calls").exists() else []


# --- places -----------------------------------------------------------------------------------------------------------


def test_where_logins_are():
    found = auth.locate({"XDG_RUNTIME_DIR": "/run/user/7"}, home="/home/a")
    assert found.main == "/run/user/7/containers/auth.json"
    assert found.others == ("/home/a/.config/containers/auth.json", "/home/a/.docker/config.json", "/home/a/.dockercfg")
    assert auth.locate({}, home="/root").main == f"/run/containers/{os.geteuid()}/auth.json"
    assert auth.locate({"DOCKER_CONFIG": "/d"}, home="/h").others[1] == "/d/config.json"


def test_a_named_file_counts_alone():
    assert auth.locate({"REGISTRY_AUTH_FILE": "/a"}, home="/h") == AuthFiles(main="/a")
    assert auth.locate({"REGISTRY_AUTH_FILE": "/a"}, home="/h", authfile="/b") == AuthFiles(main="/b")


# --- finding ----------------------------------------------------------------------------------------------------------


def test_the_most_specific_key_counts(where):
    put(where.main, {"auths": {"a.io": entry("host", "1"), "a.io/team": entry("team", "2"), "a.io/team/x": entry("x", "3")}})
    assert login(auth.find(where, "a.io/team/x")) == ("x", "3")
    assert login(auth.find(where, "a.io/team/y")) == ("team", "2")
    assert login(auth.find(where, "a.io/other")) == ("host", "1")
    assert login(auth.find(where, "a.io")) == ("host", "1")
    assert auth.find(where, "a.iox/team") is None


def test_files_in_their_order(where):
    put(where.others[0], {"auths": {"a.io": entry("second", "x"), "b.io": entry("b", "x")}})
    put(where.main, {"auths": {"a.io": entry("first", "x")}})
    put(where.others[2], {"https://c.io/v1/": entry("old", "x")})
    assert login(auth.find(where, "a.io/x")) == ("first", "x")
    found = auth.find(where, "b.io/x")
    assert found is not None
    assert found.source == where.others[0]
    assert login(auth.find(where, "c.io/x")) == ("old", "x")


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"])
def test_all_names_of_docker_hub(where, key):
    put(where.others[1], {"auths": {key: entry("me", "pw")}})
    assert login(auth.find(where, "docker.io/library/nginx")) == ("me", "pw")


def test_a_path_in_an_old_key_is_no_host(where):
    put(where.others[1], {"auths": {"https://docker.io/private/": entry("me", "pw")}})
    assert auth.find(where, "docker.io/library/nginx") is None


def test_passwords_may_hold_anything(where):
    put(where.main, {"auths": {"a.io": entry("me", "p:w:ö "), "n.io": {"auth": base64.b64encode(b"u:p\0\0").decode()}}})
    assert login(auth.find(where, "a.io")) == ("me", "p:w:ö ")
    assert login(auth.find(where, "n.io")) == ("u", "p")


def test_identity_tokens_and_plain_fields(where):
    put(where.main, {"auths": {"t.io": {"auth": "", "identitytoken": "tok"}, "p.io": {"username": "u", "password": "p"},
                               "e.io": {}}})
    found = auth.find(where, "t.io/x")
    assert found is not None
    assert found.identity_token == "tok"
    assert login(auth.find(where, "p.io")) == ("u", "p")
    assert auth.find(where, "e.io") is None


def test_a_password_is_not_shown():
    assert "secret" not in repr(Credentials(username="u", password="secret", identity_token="secret"))


@pytest.mark.parametrize("content", ["{", "[]", '{"auths": []}', '{"auths": {"a.io": {"auth": "!!!"}}}',
                                     '{"auths": {"a.io": 3}}', '{"auths": {"a.io": {"auth": "bm9jb2xvbg=="}}}',
                                     '{"auths": {"a.io": {"auth": 5}}}'])
def test_broken_files_are_reported(where, content):
    put(where.main, content)
    with pytest.raises(Corrupt, match=where.main):
        auth.find(where, "a.io")


def test_an_empty_file_has_no_logins(where):
    put(where.main, " \n")
    assert auth.find(where, "a.io") is None


# --- helpers ----------------------------------------------------------------------------------------------------------


def test_a_helper_for_a_registry(where, helper):
    helpers = {"kept.io": "fake", "token.io": "fake", "no.io": "fake"}
    put(where.main, {"auths": {"kept.io": entry("file", "x")}, "credHelpers": helpers})
    assert login(auth.find(where, "kept.io/x")) == ("hu", "hp")
    found = auth.find(where, "token.io/x")
    assert found is not None
    assert (found.username, found.identity_token) == ("", "tt")
    assert auth.find(where, "no.io") is None
    assert helper() == ["get kept.io", "get token.io", "get no.io"]


def test_docker_s_credential_store(where, helper):
    put(where.others[1], {"auths": {"https://index.docker.io/v1/": {}}, "credsStore": "fake"})
    assert login(auth.find(where, "docker.io/library/nginx")) == ("hub", "pw")
    assert login(auth.find(where, "kept.io/x")) == ("hu", "hp")


def test_helpers_of_registries_conf(where, helper):
    put(where.main, {"auths": {"kept.io": entry("file", "x"), "a.io": entry("file", "x")}})
    first = where.replace(helpers=("fake", "containers-auth.json"))
    assert login(auth.find(first, "kept.io")) == ("hu", "hp")
    assert login(auth.find(first, "a.io")) == ("file", "x")
    assert login(auth.find(where.replace(helpers=("containers-auth.json", "fake")), "kept.io")) == ("file", "x")


def test_a_helper_s_failure_is_reported(where, helper):
    put(where.main, {"credHelpers": {"broken.io": "fake", "odd.io": "fake", "x.io": "missing", "y.io": "../evil"}})
    with pytest.raises(ProgramFailed, match="docker-credential-fake: the keyring is locked"):
        auth.find(where, "broken.io")
    with pytest.raises(Corrupt, match="something else than a login"):
        auth.find(where, "odd.io")
    with pytest.raises(Unsupported, match="docker-credential-missing is not installed"):
        auth.find(where, "x.io")
    with pytest.raises(InvalidArgument):
        auth.find(where, "y.io")


# --- changing ---------------------------------------------------------------------------------------------------------


def test_logins_are_kept_for_the_user_alone(where):
    assert auth.store(where, "a.io", "me", "pw") == where.main
    assert auth.store(where, "a.io/team", "us", "p:w") == where.main
    assert (os.stat(where.main).st_mode & 0o777, os.stat(os.path.dirname(where.main)).st_mode & 0o777) == (0o600, 0o700)
    assert login(auth.find(where, "a.io/team/x")) == ("us", "p:w")
    assert auth.logins(where) == {"a.io": "me", "a.io/team": "us"}
    assert os.listdir(os.path.dirname(where.main)) == ["auth.json"]


def test_the_file_is_as_podman_writes_it(where):
    auth.store(where, "a.io", "me", "pw")
    with open(where.main) as file:
        assert file.read() == '{\n\t"auths": {\n\t\t"a.io": {\n\t\t\t"auth": "bWU6cHc="\n\t\t}\n\t}\n}'


def test_what_is_not_known_in_the_file_is_kept(where):
    put(where.main, {"auths": {"b.io": {"auth": "eDp5", "email": "e"}}, "HttpHeaders": {"a": "b"}})
    auth.store(where, "a.io", "me", "pw")
    auth.remove(where, "a.io")
    with open(where.main) as file:
        assert json.load(file) == {"auths": {"b.io": {"auth": "eDp5", "email": "e"}}, "HttpHeaders": {"a": "b"}}


def test_a_link_to_the_file_stays_a_link(where, tmp_path):
    put(f"{tmp_path}/real.json", {"auths": {}})
    os.makedirs(os.path.dirname(where.main))
    os.symlink(f"{tmp_path}/real.json", where.main)
    auth.store(where, "a.io", "me", "pw")
    assert os.path.islink(where.main)
    assert "a.io" in auth.read(f"{tmp_path}/real.json")["auths"]


def test_logging_out(where):
    auth.store(where, "a.io", "me", "pw")
    with pytest.raises(NotFound, match=r"not logged into a.io/team"):
        auth.remove(where, "a.io/team")
    auth.remove(where, "a.io")
    with pytest.raises(NotFound, match=r"not logged into a.io"):
        auth.remove(where, "a.io")
    auth.store(where, "a.io", "me", "pw")
    auth.store(where, "b.io", "me", "pw")
    auth.remove_all(where)
    auth.remove_all(where)
    assert auth.logins(where) == {}


def test_helpers_store_and_erase(where, helper):
    put(where.main, {"credHelpers": {"kept.io": "fake"}})
    assert auth.store(where, "kept.io", "me", "s3cret") == "docker-credential-fake"
    auth.remove(where, "kept.io")
    assert helper() == ['store {"ServerURL":"kept.io","Username":"me","Secret":"s3cret"}', "get kept.io", "erase kept.io"]
    assert "s3cret" not in open(where.main).read()


@pytest.mark.parametrize("key", ["", "https://a.io", "/x", "a.io/x:1", "a.io/x@sha256:0"])
def test_keys_that_are_none(where, key):
    with pytest.raises(InvalidArgument):
        auth.store(where, key, "me", "pw")


def test_parallel_logins_lose_nothing(where):
    threads = [threading.Thread(target=auth.store, args=(where, f"r{number}.io", "me", "pw")) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(auth.logins(where)) == 20
