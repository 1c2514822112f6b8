"""storage.conf as one record."""

from __future__ import annotations

import tomllib

import pytest

from podling.config import layers, storage, values
from podling.config.storage import StorageConf
from podling.errors import Corrupt


def conf(text="", env=None, *, rootless=False, home="/home/a"):
    read = values.merge([("/etc/s", tomllib.loads(text))], storage._FIELDS)
    return storage.decide(read, env or {}, rootless=rootless, home=home)


def test_nothing_configured():
    assert conf() == StorageConf()


def test_values():
    found = conf('''
        [storage]
        driver = "overlay"
        graphroot = "/data/containers"
        runroot = "/run/c"
        transient_store = true
        imagestore = "/images"
        [storage.options]
        additionalimagestores = ["/usr/share/images", "$HOME/images"]
        root-auto-userns-user = "storage"
        auto-userns-min-size = 2048
        pull_options = {enable_partial_images = "true", use_hard_links = false}
        [storage.options.overlay]
        ignore_chown_errors = "false"
        mountopt = "nodev,metacopy=on"
        mount_program = "/usr/bin/fuse-overlayfs"
    ''')
    assert (found.driver, found.graphroot, found.runroot) == ("overlay", "/data/containers", "/run/c")
    assert found.image_store == "/images"
    assert (found.root_auto_userns_user, found.auto_userns_min_size, found.auto_userns_max_size) == ("storage", 2048, 65536)
    assert found.additional_image_stores == ("/usr/share/images", "/home/a/images")
    assert found.pull_options == {"enable_partial_images": "true", "use_hard_links": "false"}
    assert (found.mount_options, found.mount_program) == ("nodev,metacopy=on", "/usr/bin/fuse-overlayfs")
    assert (found.transient_store, found.ignore_chown_errors) == (True, False)


def test_options_of_the_older_place_count_too():
    assert conf('[storage.options]\nmount_program="/f"').mount_program == "/f"


def test_root_s_paths_are_not_a_user_s():
    text = '[storage]\ngraphroot="/var/x"\nrunroot="/run/x"\nrootless_storage_path="/users/$USER/$UID"\n'
    found = conf(text, {"USER": "ann"}, rootless=True)
    assert found.graphroot.startswith("/users/ann/")
    assert found.runroot == ""
    assert conf(text).graphroot == "/var/x"


def test_variables_override():
    options = "overlay.mountopt=nodev,imagestore=/a,additionalimagestore=/b,x=y"
    found = conf('[storage]\ndriver="vfs"', {"STORAGE_DRIVER": "overlay", "STORAGE_OPTS": options})
    assert (found.driver, found.mount_options, found.additional_image_stores) == ("overlay", "nodev", ("/a", "/b"))


@pytest.mark.parametrize(("option", "known"), [("overlay.mountopt=x", True), ("overlay2.size=10G", True), ("nonsense=1", False),
                                               ("vfs.ignore_chown_errors=true", True), ("mountopt", False), ("", True)])
def test_storage_options_by_name(option, known):
    assert storage.apply_option({}, option) is known


@pytest.mark.parametrize(("text", "expected"), [("$HOME/x", "/h/x"), ("${HOME}x$", "/hx"), ("a$NO_SUCH-b", "a-b"),
                                                ("plain", "plain"), ("$$HOME", "/h"), ("", "")])
def test_names_are_put_in(text, expected):
    assert storage.expand(text, {"HOME": "/h"}) == expected


def test_wrong_values_are_reported():
    with pytest.raises(Corrupt, match=r"driver in \[storage\]: expected a text"):
        conf("[storage]\ndriver=3")
    with pytest.raises(Corrupt, match="ignore_chown_errors"):
        conf('[storage.options.overlay]\nignore_chown_errors="perhaps"')


def test_of_the_main_files_one_counts(tmp_path):
    (tmp_path / "vendor").mkdir()
    (tmp_path / "vendor/storage.conf").write_text('[storage]\ndriver="vfs"\nrunroot="/r"')
    (tmp_path / "storage.conf").write_text('[storage]\ngraphroot="/g"')
    where = layers.Places(vendor=f"{tmp_path}/vendor", administrator=str(tmp_path))
    found = storage.load({}, rootless=False, home="/root", places=where)
    assert (found.graphroot, found.driver, found.runroot) == ("/g", "", "")


def test_a_user_s_own_file_is_taken_as_it_is(tmp_path):
    (tmp_path / "storage.conf").write_text('[storage]\ngraphroot="$HOME/g"')
    where = layers.Places(vendor="/nowhere", administrator="/nowhere", user=str(tmp_path), uid=1000)
    assert storage.load({}, rootless=True, home="/home/a", places=where).graphroot == "/home/a/g"
