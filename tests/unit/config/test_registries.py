"""registries.conf: short names, mirrors, blocked and insecure registries."""

from __future__ import annotations

import os
import tomllib

import pytest

from podling.config import layers, registries
from podling.config.registries import RegistriesConf, matched_length, merge
from podling.errors import Corrupt, InvalidArgument, Refused
from podling.values import reference

DIGEST = "sha256:" + "0" * 64
EXAMPLE = '''
unqualified-search-registries = ["example.com"]
[[registry]]
prefix = "example.com/foo"
location = "internal-registry-for-example.com/bar"
[[registry.mirror]]
location = "example-mirror-0.local/mirror-for-foo"
[[registry.mirror]]
location = "example-mirror-1.local/mirrors/foo"
insecure = true
[[registry]]
location = "registry.com"
[[registry.mirror]]
location = "mirror.registry.com"
'''


def conf(*texts):
    return merge([(f"/etc/{number}.conf", tomllib.loads(text)) for number, text in enumerate(texts)])


def places(found, name):
    return [(str(place.reference), place.insecure, place.mirror) for place in found.endpoints(reference.parse(name))]


# --- short names ------------------------------------------------------------------------------------------------------


def test_short_names_are_docker_hub_s_where_nothing_is_configured():
    assert conf().candidates("nginx") == ["docker.io/library/nginx"]
    assert conf().candidates("me/app:1") == ["docker.io/me/app:1"]


def test_qualified_names_stand_for_themselves():
    found = conf('unqualified-search-registries = ["a.io"]')
    assert found.candidates("quay.io/x/y:1") == ["quay.io/x/y:1"]
    assert found.candidates("localhost/x") == ["localhost/x"]
    assert found.candidates("docker.io/nginx") == ["docker.io/library/nginx"]


def test_short_names_are_searched_in_order():
    found = conf('unqualified-search-registries = ["a.io", "docker.io"]')
    assert found.candidates(f"nginx:1@{DIGEST}") == [f"a.io/nginx:1@{DIGEST}", f"docker.io/library/nginx:1@{DIGEST}"]


def test_an_empty_list_forbids_short_names():
    with pytest.raises(InvalidArgument, match='short-name "nginx" did not resolve') as caught:
        conf("unqualified-search-registries = []").candidates("nginx")
    assert "docker.io/nginx" in (caught.value.hint or "")


def test_aliases_go_before_searching_and_keep_tag_and_digest():
    found = conf('unqualified-search-registries = ["a.io"]\n[aliases]\nfedora = "registry.fedoraproject.org/fedora"')
    assert found.candidates(f"fedora:40@{DIGEST}") == [f"registry.fedoraproject.org/fedora:40@{DIGEST}"]


def test_later_files_replace_and_erase_aliases():
    found = conf('[aliases]\na = "x.io/a"\nb = "x.io/b"', '[aliases]\na = ""\nb = "y.io/b"')
    assert found.aliases == {"b": "y.io/b"}


def test_enforcing_refuses_a_choice_that_nobody_can_make():
    found = conf('short-name-mode = "enforcing"\nunqualified-search-registries = ["a.io", "b.io"]')
    with pytest.raises(InvalidArgument, match="cannot prompt without a TTY"):
        found.candidates("nginx")
    assert found.candidates("nginx", can_ask=True) == ["a.io/nginx", "b.io/nginx"]
    assert conf('short-name-mode = "enforcing"\nunqualified-search-registries = ["a.io"]').candidates("x") == ["a.io/x"]


# --- endpoints --------------------------------------------------------------------------------------------------------


def test_the_manual_s_example():
    found = conf(EXAMPLE)
    assert places(found, "example.com/foo/image:latest") == [
        ("example-mirror-0.local/mirror-for-foo/image:latest", False, True),
        ("example-mirror-1.local/mirrors/foo/image:latest", True, True),
        ("internal-registry-for-example.com/bar/image:latest", False, False)]
    assert places(found, "registry.com/image:latest") == [("mirror.registry.com/image:latest", False, True),
                                                          ("registry.com/image:latest", False, False)]
    assert places(found, "example.com/other:1") == [("example.com/other:1", False, False)]


def test_names_without_configuration_are_as_they_are():
    assert places(conf(), "docker.io/library/nginx:1") == [("docker.io/library/nginx:1", False, False)]


@pytest.mark.parametrize(("name", "prefix", "expected"), [
    ("a.io/b/c:1", "a.io", 4), ("a.io/b/c:1", "a.io/b", 6), ("a.io/b/c:1", "a.io/b/c", 8), ("a.io/b/c:1", "a.io/b/c:1", 10),
    ("a.io/bb", "a.io/b", -1), ("a.io:5000/b", "a.io", 4), ("a.iox/b", "a.io", -1), (f"a.io/b@{DIGEST}", "a.io/b", 6),
    ("x.a.io/b", "*.a.io", 6), ("y.x.a.io/b", "*.a.io", 8), ("a.io/b", "*.a.io", -1), ("x.a.iox/b", "*.a.io", -1),
    ("z.io/x.a.io/b", "*.a.io", -1), ("x.a.io:50/b", "*.a.io", 6), ("x.a.io", "*.a.io", 6),
])
def test_prefixes_end_where_parts_end(name, prefix, expected):
    assert matched_length(name, prefix) == expected


def test_the_longest_prefix_counts():
    found = conf('[[registry]]\nlocation="a.io"\ninsecure=true\n[[registry]]\nprefix="a.io/b"\nlocation="c.io/d"')
    assert places(found, "a.io/b/x:1") == [("c.io/d/x:1", False, False)]
    assert places(found, "a.io/x:1") == [("a.io/x:1", True, False)]


def test_wildcards_with_and_without_location():
    found = conf('[[registry]]\nprefix="*.example.com"\ninsecure=true',
                 '[[registry]]\nprefix="*.old.org"\nlocation="new.org/all"')
    assert places(found, "blah.example.com/foo/bar:1") == [("blah.example.com/foo/bar:1", True, False)]
    assert places(found, "x.old.org/foo:1") == [("new.org/all/foo:1", False, False)]


def test_mirrors_for_digests_or_tags_only():
    text = '''[[registry]]
        location = "a.io"
        [[registry.mirror]]
        location = "d.io"
        pull-from-mirror = "digest-only"
        [[registry.mirror]]
        location = "t.io"
        pull-from-mirror = "tag-only"
        [[registry.mirror]]
        location = "all.io"'''
    found = conf(text)
    assert [place[0] for place in places(found, "a.io/x:1")] == ["t.io/x:1", "all.io/x:1", "a.io/x:1"]
    by_digest = [place[0] for place in places(found, f"a.io/x@{DIGEST}")]
    assert by_digest == [f"d.io/x@{DIGEST}", f"all.io/x@{DIGEST}", f"a.io/x@{DIGEST}"]


def test_mirror_by_digest_only():
    found = conf('[[registry]]\nlocation="a.io"\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation="m.io"')
    assert [place[0] for place in places(found, "a.io/x:1")] == ["a.io/x:1"]
    assert [place[0] for place in places(found, f"a.io/x@{DIGEST}")] == [f"m.io/x@{DIGEST}", f"a.io/x@{DIGEST}"]


def test_blocked_registries_are_refused():
    found = conf('[[registry]]\nprefix="bad.io/x"\nlocation="bad.io/x"\nblocked=true')
    for ask in (found.endpoints, found.push_endpoint):
        with pytest.raises(Refused, match=r"registry bad\.io/x is blocked"):
            ask(reference.parse("bad.io/x/y:1"))
    assert places(found, "bad.io/z:1") == [("bad.io/z:1", False, False)]


def test_pushing_goes_to_the_registry_itself():
    found = conf('[[registry]]\nprefix="a.io"\nlocation="b.io"\ninsecure=true\n[[registry.mirror]]\nlocation="m.io"')
    endpoint = found.push_endpoint(reference.parse("a.io/x:1"))
    assert (str(endpoint.reference), endpoint.insecure, endpoint.mirror) == ("a.io/x:1", True, False)


def test_later_files_replace_registries_of_the_same_prefix():
    found = conf('[[registry]]\nlocation="a.io"\ninsecure=true\n[[registry]]\nlocation="b.io"', '[[registry]]\nlocation="a.io"')
    assert [(registry.prefix, registry.insecure) for registry in found.registries] == [("a.io", False), ("b.io", False)]


def test_a_rewriting_that_gives_no_name_is_reported():
    found = conf('[[registry]]\nprefix="a.io"\nlocation="not a host"')
    with pytest.raises(InvalidArgument, match="location not a host"):
        found.endpoints(reference.parse("a.io/x"))


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "words"), [
    ("[[registry]]\ninsecure=true", "both location and prefix are unset"),
    ('[[registry]]\nprefix="a.io"', "location is unset"),
    ('[[registry]]\nlocation="https://a.io"', "URI schemes are not supported"),
    ('[[registry]]\nprefix="example.*.com"\nlocation="x"', "wildcard"),
    ('[[registry]]\nprefix="*.example.com/foo"\nlocation="x"', "wildcard"),
    ('[[registry]]\nlocation="a.io"\n[[registry.mirror]]\ninsecure=true', "mirror location is unset"),
    ('[[registry]]\nlocation="a.io"\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation="m"\npull-from-mirror="all"',
     "at the same time"),
    ('[[registry]]\nlocation="a.io"\n[[registry.mirror]]\nlocation="m"\npull-from-mirror="some"', "expected one of all"),
    ('short-name-mode="maybe"', "expected one of enforcing"),
    ('unqualified-search-registries="docker.io"', "expected a list"),
    ('[[registry]]\nlocation="a.io"\nblocked="yes"', "expected true or false"),
    ('[registry]\nlocation="a.io"', r"\[\[registry\]\]"),
    ('[aliases]\n"a:1" = "x.io/a"', "neither registry nor tag"),
    ('[aliases]\n"x.io/a" = "x.io/a"', "neither registry nor tag"),
    ('[aliases]\na = "short"', "not a name with a registry"),
    ('[aliases]\na = "x.io/a:1"', "not a name with a registry"),
])
def test_wrong_entries_are_reported_with_the_file(text, words):
    with pytest.raises(Corrupt, match=words) as caught:
        conf("", text)
    assert "/etc/1.conf" in str(caught.value)


def test_the_old_format_is_refused_with_its_translation():
    text = '''[registries.search]
        registries = ['registry1.com', 'registry2.com']
        [registries.insecure]
        registries = ['registry3.com']
        [registries.block]
        registries = ['bad.com']'''
    with pytest.raises(Corrupt, match="version 1") as caught:
        conf(text)
    hint = caught.value.hint or ""
    assert 'unqualified-search-registries = ["registry1.com", "registry2.com"]' in hint
    assert 'location = "registry3.com" insecure = true' in hint
    assert 'location = "bad.com" blocked = true' in hint
    assert conf("[registries.search]\nregistries = []").search is None


def test_records_survive_the_cache():
    found = conf(EXAMPLE, '[aliases]\na = "x.io/a"')
    assert RegistriesConf.from_json(found.to_json()) == found
    assert RegistriesConf.from_json(conf().to_json()) == conf()


def test_loading(tmp_path):
    etc = tmp_path / "etc"
    (etc / "registries.conf.d").mkdir(parents=True)
    (etc / "registries.conf").write_text('unqualified-search-registries = ["a.io"]')
    (etc / "registries.conf.d/b.conf").write_text('unqualified-search-registries = ["b.io"]')
    where = layers.Places(vendor=f"{tmp_path}/v", administrator=str(etc), user=f"{tmp_path}/user", uid=1000)
    home = str(tmp_path)
    assert registries.load({}, rootless=True, home=home, places=where).search == ("b.io",)
    (tmp_path / "user").mkdir()
    (tmp_path / "user/registries.conf").write_text('[aliases]\nx = "u.io/x"')
    found = registries.load({}, rootless=True, home=home, places=where)
    assert (found.search, found.aliases) == (None, {"x": "u.io/x"})
    (tmp_path / "named").write_text('unqualified-search-registries = ["n.io"]')
    for variable in registries.VARIABLES:
        assert registries.load({variable: f"{tmp_path}/named"}, rootless=True, home=home, places=where).search == ("n.io",)


def test_recorded_aliases_come_last(tmp_path):
    path = registries.alias_file(rootless=True, home=str(tmp_path), env={})
    registries.record_alias(path, "nginx", "docker.io/library/nginx")
    registries.record_alias(path, "me/app", "quay.io/me/app")
    registries.record_alias(path, "nginx", "a.io/nginx")
    where = layers.Places(vendor="/nowhere", administrator="/nowhere", user="/nowhere", uid=1000)
    found = registries.load({}, rootless=True, home=str(tmp_path), places=where)
    assert found.aliases == {"me/app": "quay.io/me/app", "nginx": "a.io/nginx"}
    assert os.stat(path).st_mode & 0o777 == 0o644
    with pytest.raises(InvalidArgument):
        registries.record_alias(path, "nginx:1", "a.io/nginx")
    assert registries.alias_file(rootless=False, home="/root", env={}) == "/var/cache/containers/short-name-aliases.conf"
