"""registries.d: where signatures are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podling.config import registries_d
from podling.config.registries_d import NamespacePlaces
from podling.errors import Corrupt


def write(directory, **texts):
    directory.mkdir(exist_ok=True)
    for name, text in texts.items():
        (directory / f"{name}.yaml").write_text(text)
    return registries_d.load(str(directory), builtin="file:///builtin")


def test_the_most_specific_namespace_that_says_it_wins(tmp_path):
    found = write(tmp_path / "d", default="default-docker: {sigstore: 'http://old', sigstore-staging: 'file:///old'}", one="""
docker:
  example.com:
    lookaside: https://sigs.example.com
    lookaside-staging: file:///staging
    use-sigstore-attachments: true
  example.com/team/app:
    lookaside: https://team.example.com
  example.com/off:
    use-sigstore-attachments: false
  '*.example.org': {lookaside: https://wild}
""")
    assert found.lookaside("other.io/x:1") == "http://old"
    assert found.lookaside("other.io/x:1", write=True) == "file:///old"
    assert found.lookaside("example.com/a:1", write=True) == "file:///staging"
    assert found.lookaside("example.com/team/app:1") == "https://team.example.com"
    assert found.lookaside("example.com/team/app:1", write=True) == "https://team.example.com"
    assert found.lookaside("example.com/team/apple:1") == "https://sigs.example.com"
    assert found.lookaside("a.b.example.org/x:1") == "https://wild"
    assert found.attachments("example.com/team/app:1")
    assert not found.attachments("example.com/off/x:1")
    assert not found.attachments("other.io/x:1")


def test_the_newer_name_wins_and_nothing_means_the_builtin_place(tmp_path):
    found = write(tmp_path / "d", a="docker:\n  a.io: {sigstore: 'http://old', lookaside: 'http://new'}\n"
                                    "  b.io: {lookaside: 'http://new', sigstore: 'http://old'}\n")
    assert found.lookaside("a.io/x:1") == found.lookaside("b.io/x:1") == "http://new"
    assert found.lookaside("c.io/x:1") == "file:///builtin"
    assert registries_d.load(str(tmp_path / "missing")).lookaside("c.io/x:1") == ""
    assert registries_d.builtin_place(rootless=False, home="/h") == "file:///var/lib/containers/sigstore"
    assert registries_d.builtin_place(rootless=True, home="/h") == "file:///h/.local/share/containers/sigstore"


def test_the_users_directory_takes_the_place_of_the_systems(tmp_path):
    assert registries_d.directory({}, home=str(tmp_path), administrator="/etc/containers") == "/etc/containers/registries.d"
    (tmp_path / ".config/containers/registries.d").mkdir(parents=True)
    assert registries_d.directory({}, home=str(tmp_path)) == f"{tmp_path}/.config/containers/registries.d"


def test_what_is_said_twice_is_refused(tmp_path):
    with pytest.raises(Corrupt, match=r'"default-docker" defined both in ".*a\.yaml" and ".*b\.yaml"'):
        write(tmp_path / "one", a="default-docker: {}", b="default-docker: {}")
    with pytest.raises(Corrupt, match=r'namespace "a\.io" defined both in'):
        write(tmp_path / "two", a="docker: {a.io: {}}", b="docker: {a.io: {}}")
    with pytest.raises(Corrupt, match=r"'a\.io' is there twice"):
        registries_d.parse(b"docker:\n  a.io: {}\n  a.io: {lookaside: 'http://evil'}\n", "/p")


@pytest.mark.parametrize("text", [
    "- a", "docker: []", "docker: {a.io: x}", "default-docker: {lookaside: 1}", "default-docker: {lookasid: 'http://x'}",
    "default-docker: {use-sigstore-attachments: 'yes'}", "dcoker: {}", "docker: {1: {}}", "a: [", "!!python/object:os.system {}",
    "default-docker: &a {lookaside: *a}", "[" * 3000, "\0", "docker: {? [a, b] : {}}", "--- {}\n--- {}",
])
def test_files_with_mistakes_are_refused_by_name(text):
    with pytest.raises(Corrupt, match=r"/p/x\.yaml"):
        registries_d.parse(text.encode(), "/p/x.yaml")


def test_empty_files_say_nothing(tmp_path):
    assert write(tmp_path / "d", a="", b="# nothing\n", c="docker:\n", e="default-docker:\n").default == NamespacePlaces()


def test_aliases_do_not_multiply():
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9}]\n" for n in range(1, 30))
    with pytest.raises(Corrupt, match="unknown key 'a0'"):
        registries_d.parse(bomb.encode(), "/p")


@given(st.one_of(st.binary(max_size=200), st.text(alphabet="docker-default:{}[]'\"&*!<>|\n\t #?,lookaside", max_size=120).map(str.encode)))
def test_any_text_is_read_or_refused(content):
    try:
        default, namespaces = registries_d.parse(content, "/p")
    except Corrupt:
        return
    assert isinstance(default, (NamespacePlaces, type(None)))
    assert all(isinstance(value, NamespacePlaces) for value in namespaces.values())
