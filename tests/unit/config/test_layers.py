"""Where configuration files are looked for, and when what was read is read again."""

from __future__ import annotations

import os

import pytest

from podling import jsontext
from podling.config import layers
from podling.errors import Corrupt, InvalidArgument

LONG_AGO = 1_600_000_000


@pytest.fixture
def where(tmp_path):
    for name in ("vendor", "etc", "user"):
        (tmp_path / name).mkdir()
    return layers.Places(vendor=f"{tmp_path}/vendor", administrator=f"{tmp_path}/etc", user=f"{tmp_path}/user", uid=1000)


def put(tmp_path, *paths, text=""):
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)


def found(tmp_path, where, env=None, **options):
    return [os.path.relpath(path, tmp_path) for path in layers.find("x.conf", "X_CONF", env or {}, where, **options)]


def test_layers_count_in_their_order(tmp_path, where):
    put(tmp_path, "user/x.conf", "etc/x.conf.d/b.conf", "etc/x.conf", "etc/x.conf.d/a.conf", "user/x.conf.d/z.conf",
        "vendor/x.conf", "vendor/x.conf.d/v.conf", "etc/x.conf.d/README", "etc/x.conf.d/d.conf/nested.conf")
    assert found(tmp_path, where) == ["vendor/x.conf", "vendor/x.conf.d/v.conf", "etc/x.conf", "etc/x.conf.d/a.conf",
                                      "etc/x.conf.d/b.conf", "user/x.conf", "user/x.conf.d/z.conf"]


def test_a_drop_in_hides_its_namesake_in_earlier_layers(tmp_path, where):
    put(tmp_path, "vendor/x.conf.d/10.conf", "vendor/x.conf.d/20.conf", "etc/x.conf.d/10.conf", "user/x.conf.d/20.conf")
    assert found(tmp_path, where) == ["etc/x.conf.d/10.conf", "user/x.conf.d/20.conf"]


def test_drop_ins_for_root_and_for_others(tmp_path, where):
    put(tmp_path, "etc/x.rootful.conf.d/r.conf", "etc/x.rootless.conf.d/l.conf", "etc/x.rootless.conf.d/1000/me.conf",
        "etc/x.rootless.conf.d/1001/other.conf", "user/x.rootless.conf.d/no.conf")
    assert found(tmp_path, where) == ["etc/x.rootless.conf.d/l.conf", "etc/x.rootless.conf.d/1000/me.conf"]
    assert found(tmp_path, where.replace(uid=0, user="")) == ["etc/x.rootful.conf.d/r.conf"]


def test_only_the_most_important_main_file_where_so_wanted(tmp_path, where):
    put(tmp_path, "vendor/x.conf", "etc/x.conf", "vendor/x.conf.d/a.conf")
    assert found(tmp_path, where, one_main=True) == ["vendor/x.conf.d/a.conf", "etc/x.conf"]


def test_variables_replace_and_override(tmp_path, where):
    put(tmp_path, "etc/x.conf", "mine", "last")
    mine, last = f"{tmp_path}/mine", f"{tmp_path}/last"
    assert found(tmp_path, where, {"X_CONF": mine}) == ["mine"]
    assert found(tmp_path, where, {"X_CONF_OVERRIDE": last}) == ["etc/x.conf", "last"]
    assert found(tmp_path, where, {"X_CONF": mine, "X_CONF_OVERRIDE": last}) == ["mine", "last"]
    assert layers.find("x.conf", "X_CONF", {"X_CONF": "/dev/null"}, where) == ["/dev/null"]


@pytest.mark.parametrize("name", ["X_CONF", "X_CONF_OVERRIDE"])
def test_a_variable_that_names_no_file_is_an_error(tmp_path, where, name):
    with pytest.raises(InvalidArgument, match=f"{name}: .*/missing: no such file"):
        found(tmp_path, where, {name: f"{tmp_path}/missing"})
    with pytest.raises(InvalidArgument):
        found(tmp_path, where, {name: str(tmp_path)})


def test_root_s_own_directory_does_not_count():
    env = {"XDG_CONFIG_HOME": "/xdg"}
    assert layers.places(env, rootless=False, home="/root").user == ""
    assert layers.places(env, rootless=True, home="/home/a").user == "/xdg/containers"
    assert layers.places({}, rootless=True, home="/home/a").user == "/home/a/.config/containers"


# --- the cache --------------------------------------------------------------------------------------------------------


class Reader:
    """Counts how often files are really read."""

    def __init__(self, cache):
        self.cache = str(cache)
        self.times = 0

    def read(self, *paths):
        return layers.cached("test", [str(path) for path in paths], self.cache, self.build)

    def build(self, tables):
        self.times += 1
        return {os.path.basename(path): table for path, table in tables}


@pytest.fixture
def reader(tmp_path, monkeypatch):
    monkeypatch.setattr(layers, "_FRESH", -1)  # files of a test are never old
    return Reader(tmp_path / "cache")


def test_files_are_read_once(tmp_path, reader):
    put(tmp_path, "a", text="x = 1")
    assert reader.read(tmp_path / "a") == reader.read(tmp_path / "a") == {"a": {"x": 1}}
    assert reader.times == 1
    assert os.stat(reader.cache).st_mode & 0o777 == 0o700


def test_a_changed_file_is_read_again(tmp_path, reader):
    put(tmp_path, "a", text="x = 1")
    reader.read(tmp_path / "a")
    put(tmp_path, "a", text="x = 2")
    assert reader.read(tmp_path / "a") == {"a": {"x": 2}}


def test_a_replaced_file_of_the_same_size_and_time_is_read_again(tmp_path, reader):
    put(tmp_path, "a", text="x = 1")
    os.utime(tmp_path / "a", (LONG_AGO, LONG_AGO))
    reader.read(tmp_path / "a")
    put(tmp_path, "b", text="x = 2")
    os.utime(tmp_path / "b", (LONG_AGO, LONG_AGO))
    os.rename(tmp_path / "b", tmp_path / "a")
    assert reader.read(tmp_path / "a") == {"a": {"x": 2}}


def test_another_set_of_files_is_read_again(tmp_path, reader):
    put(tmp_path, "a", text="x = 1")
    put(tmp_path, "b", text="y = 1")
    reader.read(tmp_path / "a")
    assert reader.read(tmp_path / "a", tmp_path / "b") == {"a": {"x": 1}, "b": {"y": 1}}
    assert reader.read(tmp_path / "b", tmp_path / "a") == {"a": {"x": 1}, "b": {"y": 1}}
    assert reader.read() == {}


def test_a_file_just_written_is_not_kept(tmp_path):
    reader = Reader(tmp_path / "cache")
    put(tmp_path, "a", text="x = 1")
    reader.read(tmp_path / "a")
    reader.read(tmp_path / "a")
    assert reader.times == 2


@pytest.mark.parametrize("rubbish", ["", "{", "null", "[1]", '[["x"], {}]', "[1, 2, 3]"])
def test_a_broken_cache_is_none(tmp_path, reader, rubbish):
    put(tmp_path, "a", text="x = 1")
    put(tmp_path, "cache/config-test.json", text=rubbish)
    assert reader.read(tmp_path / "a") == {"a": {"x": 1}}


def test_a_cache_that_cannot_be_written_is_none(tmp_path, reader):
    put(tmp_path, "a", text="x = 1")
    put(tmp_path, "cache", text="a file")
    assert reader.read(tmp_path / "a") == {"a": {"x": 1}}


def test_dates_do_not_spoil_the_cache(tmp_path, reader):
    put(tmp_path, "a", text="when = 2026-01-02")
    assert layers.cached("test", [f"{tmp_path}/a"], reader.cache, len) == 1


def test_no_cache_without_a_directory(tmp_path):
    put(tmp_path, "a", text="x = 1")
    assert layers.cached("test", [f"{tmp_path}/a"], "", lambda tables: tables[0][1]) == {"x": 1}
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize(("text", "words"), [("x = \n", "line 1"), ("a = 1\nb ==\n", "line 2"), ("[x\n", "line 1")])
def test_what_is_not_toml_is_reported_with_path_and_line(tmp_path, text, words):
    put(tmp_path, "a", text=text)
    with pytest.raises(Corrupt, match=words) as caught:
        layers.cached("test", [f"{tmp_path}/a"], "", len)
    assert f"{tmp_path}/a" in str(caught.value)
    assert f"{tmp_path}/a" in (caught.value.hint or "")


def test_what_is_not_text_is_reported(tmp_path):
    (tmp_path / "a").write_bytes(b'x = "\xff"')
    with pytest.raises(Corrupt, match="/a: "):
        layers.cached("test", [f"{tmp_path}/a"], "", len)


def test_what_is_kept_is_json(tmp_path, reader):
    put(tmp_path, "a", text='x = "é"')
    reader.read(tmp_path / "a")
    stored = jsontext.loads((tmp_path / "cache/config-test.json").read_bytes())
    assert stored[1] == {"a": {"x": "é"}}
