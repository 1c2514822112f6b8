"""Configuration of any shape: understood, or refused with a reported error that names the file."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from podling.config import auth, containers, policy, registries, storage, values
from podling.errors import PodlingError
from podling.linux import cgroups, seccomp, userns

WORDS = st.sampled_from([
    "default", "transports", "docker", "type", "reject", "insecureAcceptAnything", "signedBy", "auths", "credHelpers", "auth",
    "a.io", "docker.io", "identitytoken", "YTpi", "registry", "prefix", "location", "mirror", "aliases", "short-name-mode",
    "registries",
    "unqualified-search-registries", "search", "containers", "engine", "network", "env", "runtimes", "pids_limit", "shm_size",
    "append", "storage", "options", "overlay", "mountopt", "graphroot", "syscalls", "names", "name", "action", "args", "index",
    "op", "value", "includes", "excludes", "caps", "arches", "minKernel", "archMap", "architecture", "subArchitectures",
    "defaultAction", "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "errno", "errnoRet", "defaultErrnoRet", "SCMP_CMP_EQ", "1m", "x", "",
])
VALUES = st.recursive(st.none() | st.booleans() | st.integers(-10, 10) | WORDS,
                      lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=12)
TABLES = st.dictionaries(WORDS, VALUES, max_size=4)


def refused_properly(function, *arguments):
    try:
        function(*arguments)
    except PodlingError as error:
        if not str(error):
            raise AssertionError("an error without words") from error


@given(VALUES)
def test_policies(content):
    refused_properly(policy.parse, content, "/p")


@given(st.text(max_size=30), st.text(max_size=60))
def test_scopes(transport, identity):
    assert isinstance(policy.scopes_of(transport, identity), list)
    assert isinstance(policy.scopes_of("docker", identity), list)


@given(TABLES)
def test_registries(table):
    refused_properly(registries.merge, [("/r", table)])


@given(TABLES)
def test_containers(table):
    refused_properly(lambda: containers.decide(values.merge([("/c", table)], containers.fields()), unified=True, systemd=True))


@given(TABLES)
def test_storage(table):
    refused_properly(lambda: storage.decide(values.merge([("/s", table)], storage._FIELDS), {}, rootless=False, home="/"))


@given(VALUES, st.sampled_from(["a.io", "a.io/x/y", "docker.io/library/nginx"]))
def test_logins(tmp_path_factory, content, name):
    path = tmp_path_factory.getbasetemp() / "auth.json"
    path.write_text(json.dumps(content))
    where = auth.AuthFiles(main=str(path))
    refused_properly(auth.find, where, name)
    refused_properly(auth.logins, where)


@given(TABLES)
def test_seccomp_profiles(profile):
    refused_properly(seccomp.resolve, profile, ("CAP_CHOWN",))


@given(st.text())
def test_names_in_texts_of_proc_never_break_the_readers(text):
    cgroups.parse_mountinfo(text)
    userns.parse_subids(text, "a", 1)
