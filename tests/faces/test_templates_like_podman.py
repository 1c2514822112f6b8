"""What Podman 5.4 finds in templates over what it shows: nil lists, maps and pointers, times, what JSON leaves out or calls otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sandbox import World


@pytest.fixture(scope="module")
def here(shared_world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world with a container that has nothing, c, a running one on a network of its own, r, and a volume."""
    from tests.support.busybox import busybox_archive

    def podling(*argv: str) -> None:
        shared_world.run("podling", *argv)

    podling("load", "-q", "-i", str(busybox_archive(tmp_path_factory.mktemp("templates"))))
    podling("network", "create", "--subnet", "10.99.0.0/24", "--ip-range", "10.99.0.128/25", "--route", "10.1.0.0/16,10.99.0.7", "nn")
    podling("create", "--name", "c", "bb")
    podling("run", "-d", "--name", "r", "--network", "nn", "--label", "x=1", "--expose", "99", "bb", "sleep", "1000")
    podling("volume", "create", "v")
    yield shared_world
    podling("rm", "-f", "-t", "0", "c", "r")


def shown(world: World, *argv: str) -> str:
    """What is printed, or the last part of the error."""
    done = world.run("podling", *argv, check=False)
    return done.stdout.strip() if done.returncode == 0 else done.stderr.strip().rpartition(": ")[2]


@pytest.mark.parametrize(("template", "expected"), [
    ("{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", "none"),
    ("{{.State.Health}} {{json .State.Health}} {{eq .State.Health nil}}", "<nil> null true"),
    ("{{.State.Health.Status}}", "nil pointer evaluating *define.HealthCheckResults.Status"),
    ("{{.Config.Healthcheck}} {{.Config.StartupHealthCheck}} {{.Config.OnBuild}} {{.HostConfig.IDMappings}} {{.SizeRw}}",
     "<nil> <nil> <nil> <nil> <nil>"),
    ("{{.Config.Labels}} {{json .Config.Labels}} {{len .Config.Labels}} {{index .Config.Labels \"x\"}}|", "map[] null 0 |"),
    ("{{.Config.Entrypoint}} {{json .Config.Entrypoint}} {{len .Config.Entrypoint}} {{join .Config.Entrypoint \" \"}}|", "[] null 0 |"),
    ("{{json .Config.Volumes}} {{json .HostConfig.Links}} {{json .HostConfig.CgroupConf}}", "null null null"),
    ("{{.State.CheckpointLog}}{{.State.CheckpointPath}}{{.State.RestoreLog}}|", "|"),
    ("{{.Config.SdNotifySocket}}{{.HostConfig.IntelRdtClosID}}|", "|"),
    ("{{.Config.ChrootDirs}} {{.NetworkSettings.SecondaryIPAddresses}} {{.Config.DomainName}}|", "[] [] |"),
    ("{{.State.StartedAt.IsZero}} {{.State.StartedAt.Unix}} {{.State.StartedAt.Year}}", "true -62135596800 1"),
    ('{{eq .State.StartedAt "x"}}', "incompatible types for comparison"),
    ("{{.Created.Format}}", "want 1 got 0"),
    ("{{.Created.Nope}}", "can't evaluate field Nope in type time.Time"),
])
def test_of_a_container(here: World, template: str, expected: str) -> None:
    assert shown(here, "inspect", "c", "--format", template) == expected


def test_when_a_container_was_made(here: World) -> None:
    created = here.run("podling", "inspect", "c", "--format", "{{json .Created}}").stdout.strip().strip('"')
    assert shown(here, "inspect", "c", "--format", '{{.Created.Format "2006-01-02T15:04:05"}}') == created[:19]
    assert shown(here, "ps", "-a", "--filter", "name=c", "--format", '{{.Created.Format "2006-01-02T15:04:05"}}') == created[:19]


def test_of_a_list_of_containers(here: World) -> None:
    template = '{{.Label "x"}}|{{.Label "y"}}|{{.ExposedPorts}}'
    assert shown(here, "ps", "-a", "--sort", "names", "--format", template) == "||map[]\n1||map[99:[tcp]]"
    assert shown(here, "ps", "--format", 'table {{.Label "x"}}') == "Label is not a method but has arguments"
    namespaces = here.run("podling", "ps", "--ns", "--format", "{{json .Namespaces}}|{{.Namespaces.User}}|{{.USERNS}}").stdout
    assert [word.split('"')[1] for word in namespaces.split(",")] == ["Mnt", "Cgroup", "Ipc", "Net", "Pidns", "Uts", "User"]
    json, user, same = namespaces.strip().split("|")
    assert f'"User":"{user}"' in json
    assert user == same != ""


@pytest.mark.parametrize(("template", "expected"), [
    ("{{range .Subnets}}{{.Subnet}} {{.Gateway}} {{.LeaseRange.StartIP}}-{{.LeaseRange.EndIP}}{{end}}",
     "10.99.0.0/24 10.99.0.1 10.99.0.129-10.99.0.255"),
    ("{{(index .Subnets 0).Gateway}} {{json .Routes}}", '10.99.0.1 [{"destination":"10.1.0.0/16","gateway":"10.99.0.7"}]'),
    ("{{range .Routes}}{{.Destination}} {{.Gateway}} {{.Metric}}{{end}}", "10.1.0.0/16 10.99.0.7 <nil>"),
    ("{{range .Containers}}{{.Name}} {{range .Interfaces}}{{range .Subnets}}{{.IPNet}} {{.Gateway}}{{end}}{{end}}{{end}}",
     "r 10.99.0.129/24 10.99.0.1"),
    ("{{.NetworkDNSServers}} {{.Labels}} {{.Options}}", "[] map[] map[]"),
])
def test_of_a_network(here: World, template: str, expected: str) -> None:
    assert shown(here, "network", "inspect", "nn", "--format", template) == expected


def test_of_networks_and_volumes(here: World) -> None:
    assert shown(here, "network", "inspect", "podman", "--format", "{{range .Subnets}}{{.Gateway}} {{.LeaseRange}}{{end}}") == (
        "10.88.0.1 <nil>")
    assert shown(here, "network", "ls", "--filter", "name=nn", "--format", "{{range .Subnets}}{{.Subnet}}{{end}}") == "10.99.0.0/24"
    assert shown(here, "volume", "inspect", "v", "--format", "{{.Status}} {{.Timeout}} {{.StorageID}}|") == "map[] 0 |"
    assert shown(here, "image", "inspect", "bb", "--format", "{{.Created.Unix}} {{.HealthCheck}} {{json .Config.Labels}}") == (
        "1767225600 <nil> null")


def test_the_last_ones_are_all_that_run_where_their_number_is_negative(here: World) -> None:
    assert shown(here, "ps", "--last", "-1", "--format", "{{.Names}}") == "r"
    assert shown(here, "ps", "--last", "1", "--format", "{{.Names}}") == "r"
    assert shown(here, "ps", "--last", "2", "--format", "{{.Names}}") == "c\nr"
