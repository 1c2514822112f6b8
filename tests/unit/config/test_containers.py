"""containers.conf as one record."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest

from podling.config import containers, layers, values
from podling.config.containers import ContainersConf, decide
from podling.errors import Corrupt


def conf(*texts, unified=True, systemd=True):
    tables = [(f"/etc/{number}.conf", tomllib.loads(text)) for number, text in enumerate(texts)]
    return decide(values.merge(tables, containers.fields()), unified=unified, systemd=systemd)


def test_the_defaults_are_podman_s():
    found = conf()
    assert found == ContainersConf()
    assert (found.pids_limit, found.shm_size, found.umask, found.stop_timeout) == (2048, 65536000, "0022", 10)
    assert found.default_subnet_pools[0] == ("10.89.0.0/16", 24)
    assert found.default_sysctls == ("net.ipv4.ping_group_range=0 0",)


def test_defaults_that_depend_on_the_host():
    assert (conf(unified=True, systemd=True).cgroup_manager, conf(unified=True).cgroupns) == ("systemd", "private")
    assert (conf(unified=False, systemd=True).cgroup_manager, conf(unified=False).cgroupns) == ("cgroupfs", "host")
    assert conf(unified=True, systemd=False).cgroup_manager == "cgroupfs"
    assert conf('[engine]\ncgroup_manager="systemd"', unified=False).cgroup_manager == "systemd"


def test_every_field_has_a_key_and_every_key_a_field():
    known = {field for field, _ in containers.fields().values()}
    assert known - {"engine_init_path"} == set(ContainersConf._fields)
    assert {kind for _, kind in containers.fields().values()} <= set(values._KINDS)


def test_values_of_all_kinds():
    found = conf('''
        [containers]
        annotations = ["run.oci.keep_original_groups = 1", "a=b=c"]
        default_capabilities = ["CHOWN", "cap_kill"]
        shm_size = "128m"
        log_size_max = 10000
        oom_score_adj = -100
        init = true
        [network]
        default_subnet_pools = [{base="10.1.0.0/16", size=26}]
        [engine]
        env = ["HTTPS_PROXY=x"]
        retry_delay = "1.5s"
        [engine.runtimes]
        mine = ["/opt/mine"]
        crun = ["/opt/crun"]
        [engine.platform_to_oci_runtime]
        "wasi/wasm" = "crun-wasm"
        [engine.runtimes_flags]
        crun = ["debug"]
        [secrets.opts]
        root = "/s"
    ''')
    assert found.annotations == {"run.oci.keep_original_groups": "1", "a": "b=c"}
    assert found.default_capabilities == ("CAP_CHOWN", "CAP_KILL")
    assert (found.shm_size, found.log_size_max, found.oom_score_adj, found.init) == (128_000_000, 10000, -100, True)
    assert found.default_subnet_pools == (("10.1.0.0/16", 26),)
    assert (found.engine_env, found.env[0][:5], found.retry_delay) == (("HTTPS_PROXY=x",), "PATH=", 1_500_000_000)
    assert (found.runtimes["mine"], found.runtimes["crun"]) == (("/opt/mine",), ("/opt/crun",))
    assert "runc" in found.runtimes
    assert (found.platform_to_oci_runtime, found.runtimes_flags) == ({"wasi/wasm": "crun-wasm"}, {"crun": ("debug",)})
    assert found.secrets_options == {"root": "/s"}


def test_later_files_override_key_by_key():
    found = conf('[containers]\npids_limit = 1\ntz = "local"', "[containers]\npids_limit = 2")
    assert (found.pids_limit, found.tz) == (2, "local")


def test_lists_replace_unless_they_append():
    assert conf('[containers]\nenv=["A=1"]', '[containers]\nenv=["B=1"]').env == ("B=1",)
    assert conf('[containers]\nenv=["A=1"]', '[containers]\nenv=["B=1", {append=true}]').env == ("A=1", "B=1")
    appending = '[containers]\nenv=["B=1", {append=true}]'
    assert conf('[containers]\nenv=["A=1"]', appending, '[containers]\nenv=["C=1"]').env == ("A=1", "B=1", "C=1")
    assert conf('[containers]\nenv=["A=1"]', appending, '[containers]\nenv=["C=1", {append=false}]').env == ("C=1",)


def test_the_engine_s_older_init_path_stands_in():
    assert conf('[engine]\ninit_path="/a"').init_path == "/a"
    assert conf('[engine]\ninit_path="/a"\n[containers]\ninit_path="/b"').init_path == "/b"


def test_unknown_keys_do_not_matter():
    assert conf('top=1\n[containers]\nnew_key=1\n[machine]\ncpus=1\n[engine.service_destinations.x]\nuri="ssh://y"') == conf()


@pytest.mark.parametrize(("text", "words"), [
    ("[containers]\npids_limit = \"many\"", r'pids_limit in \[containers\]: expected a whole number, not "many"'),
    ("[containers]\ninit = 1", r"init in \[containers\]: expected true or false, not 1"),
    ("[containers]\ndns_servers = \"1.1.1.1\"", r'dns_servers in .*expected a list of texts, \["1.1.1.1"\]'),
    ("[containers]\ntz = true", "tz in .*expected a text in quotes, not true"),
    ("[containers]\nshm_size = \"big\"", r"shm_size in \[containers\]: invalid size: 'big'"),
    ("[containers]\nlog_size_max = 10", "log size max should be negative or >= 8192"),
    ("[engine]\nstop_timeout = -1", "expected a number that is not negative"),
    ("[engine]\ncgroup_manager = \"none\"", "expected systemd or cgroupfs"),
    ("[engine]\nruntimes = 1", "expected a table"),
    ("[engine]\nretry_delay = \"soon\"", "retry_delay in"),
    ("[network]\ndefault_subnet_pools = 3", "expected a list of tables"),
    ("[containers]\nenv = [1]", "expected a text in quotes, not 1"),
    ("containers = 3", "containers: expected"),
])
def test_wrong_values_are_reported_with_file_and_key(text, words):
    if text.startswith("containers ="):
        assert conf(text) == conf()  # no table of that name: nothing of ours
        return
    with pytest.raises(Corrupt, match=words) as caught:
        conf("", text)
    assert "/etc/1.conf" in str(caught.value)


def test_loading_reads_the_layers(tmp_path):
    (tmp_path / "containers.conf").write_text('[containers]\ntz="UTC"')
    (tmp_path / "containers.conf.d").mkdir()
    (tmp_path / "containers.conf.d/a.conf").write_text('[containers]\npids_limit=7')
    where = layers.Places(vendor=f"{tmp_path}/none", administrator=str(tmp_path))
    found = containers.load({}, rootless=False, home="/root", cache="", places=where)
    assert (found.tz, found.pids_limit) == ("UTC", 7)


def test_loading_is_light(tmp_path):
    """Once kept, the configuration needs neither tomllib nor re nor typing."""
    script = """if True:
        import os, sys, time
        from podling.config import containers, layers, registries, storage
        layers._FRESH = -1
        where = layers.Places(vendor=sys.argv[1] + "/v", administrator=sys.argv[1])
        for module in (containers, storage, registries):
            module.load({}, rootless=False, home="/root", cache=sys.argv[1] + "/cache", places=where)
        if sys.argv[2] == "second":
            heavy = {"tomllib", "re", "json", "typing", "enum", "dataclasses", "datetime", "pathlib"} & set(sys.modules)
            assert not heavy, heavy
    """
    (tmp_path / "containers.conf").write_text('[containers]\ntz="UTC"')
    (tmp_path / "registries.conf").write_text('unqualified-search-registries = ["a.io"]')
    (tmp_path / "storage.conf").write_text('[storage]\ndriver="overlay"')
    path = "\n".join(entry for entry in sys.path if entry.endswith("src"))
    for turn in ("first", "second"):
        subprocess.run([sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {path.splitlines()!r}\n{script}",
                        str(tmp_path), turn], check=True)
