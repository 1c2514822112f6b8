"""Lists of containers, and what is refused because of them, in podman's words and columns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sandbox import World

LIMITS = ("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096")
CONTAINERS = (
    ("run", "-d", "--name", "web", "-p", "8080:80", "-p", "127.0.0.1:90-92:100-102/udp", "-p", "443:443", "--label", "a=b",
     "--label", "c=d e", "-v", "data:/data", "-v", "/tmp:/host:ro", *LIMITS, "bb", "sleep", "1000"),
    ("create", "--name", "job", "--network", "none", "--rm", *LIMITS, "bb", "sh", "-c", "echo a very long command line"),
    ("create", "--name", "plain", "--network", "host", "--entrypoint", "/bin/sh", *LIMITS, "bb"),
)
QUESTIONS = (
    "ps -a --format {{.Names}}|{{.Image}}|{{.Ports}}|{{.ExitCode}}|{{.Exited}}|{{.AutoRemove}}",
    "ps --no-trunc --format {{.Command}}",
    "ps -a --format {{.Labels}}|{{.Pod}}|{{.PodName}}|{{.IsInfra}}|{{.ExitedAt}}",
    "ps -a --format table {{.Names}} {{.Ports}} {{.Image}}",
    "ps -a --format table {{.ID}}\\t{{.CreatedHuman}}\\t{{.Pod}}\\t{{.PodName}} --filter name=nope",
    "ps --format {{.Names}}",
    "ps -a --sort names --format {{.Names}}",
    "ps -a --sort command --format {{.Names}}",
    "ps -a --sort status --format {{.Names}}",
    "ps -a --sort image --format {{.Names}}",
    "ps -a --sort foo",
    "ps -n 2 --format {{.Names}}",
    "ps -l --format {{.Names}}",
    "ps -l -n 1",
    "ps -q -s",
    "ps -s --ns",
    "ps -w 1 -l",
    "ps -a --filter label=a=b --format {{.Names}}",
    "ps -a --filter label=a --filter label=c=x --format {{.Names}}",
    "ps -a --filter name=e --format {{.Names}}",
    "ps -a --filter status=created --format {{.Names}}",
    "ps --filter status=created --format {{.Names}}",
    "ps -a --filter status=foo",
    "ps -a --filter foo=bar",
    "ps -a --filter foo",
    "ps -a --filter ancestor=localhost/bb:latest --format {{.Names}}",
    "ps -a --filter volume=data --format {{.Names}}",
    "ps -a --filter network=podman --format {{.Names}}",
    "ps -a --filter exited=1 --format {{.Names}}",
    "ps -a --filter before=job --format {{.Names}}",
    "ps -a --filter since=job --format {{.Names}}",
    "ps --format {{.Foo}}",
    "ps --noheading --filter name=nope",
    "ps --filter name=nope",
    "ps x",
    "container exists web",
    "container exists nope",
    "container inspect nope",
    "inspect web nope --format {{.Name}}",
    "inspect -l --format {{.Name}}",
    "inspect -l web",
    "inspect",
    "inspect web --format {{.Config.Cmd}}|{{.Config.Labels}}|{{.HostConfig.Binds}}|{{.State.Status}}|{{.Config.Volumes}}",
    "inspect web --format {{range_.Mounts}}{{.Type}}={{.Destination}}={{.RW}}={{.Propagation}}={{.Options}}_{{end}}",
    "inspect web --format {{range_.Mounts}}{{.Dst}}_{{end}}",
    "inspect web --format {{.HostConfig.RestartPolicy.MaximumRetryCount}}|{{.HostConfig.PidsLimit}}|{{.HostConfig.Privileged}}",
    "inspect web --format {{range_$k,$v_:=_.NetworkSettings.Networks}}{{$k}}={{$v.IPPrefixLen}}_{{end}}",
    "inspect plain --format {{.Path}}|{{.Config.Hostname}}|{{.HostConfig.NetworkMode}}|{{.State.StartedAt}}",
    "inspect job --format {{.Config.Cmd}}|{{.HostConfig.NetworkMode}}|{{.HostConfig.AutoRemove}}|{{.State.Pid}}",
    "inspect web --format {{.Foo}}",
    "network ls --format {{.ID}}|{{.Name}}|{{.Driver}}|{{.NetworkInterface}}|{{.Labels}}",
    "network ls",
    "network ls -q -f name=pod",
    "network ls -f foo=bar",
    "network ls --no-trunc",
    "network exists nope",
    "network inspect nope",
    "network inspect podman --format {{.Name}}|{{.ID}}|{{.Driver}}|{{.IPv6Enabled}}|{{.DNSEnabled}}|{{.Internal}}",
    "volume ls",
    "volume ls --format {{.Name}}|{{.Driver}}|{{.Labels}}|{{.Scope}}|{{.Options}}|{{.Anonymous}}",
    "volume ls -q -f dangling=true",
    "volume ls -q -f name=^d",
    "volume inspect data --format {{.Name}}|{{.Driver}}|{{.Options}}|{{.NeedsChown}}|{{.Anonymous}}",
    "volume rm data",
    "volume rm data nope",
    "volume prune -f",
    "rmi bb",
)
# Ours on purpose, or because podman 5 says it so.
OTHER_WORDS = {"volume rm data nope", "ps -a --filter status=foo"}


@pytest.fixture(scope="module")
def both(shared_world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world where podman and podling have the same image; containers are made by one after the other, they share ports."""
    from tests.support.busybox import busybox_archive

    archive = busybox_archive(tmp_path_factory.mktemp("both"))
    for engine in ("podman", "podling"):
        run(shared_world, engine, "load", "-q", "-i", str(archive))
    return shared_world


def run(world: World, engine: str, *argv: str, check: bool = True) -> tuple[list[str], list[str], int]:
    done = world.podman(*argv, check=check) if engine == "podman" else world.run("podling", *argv, check=check)
    return lines(done.stdout), lines(done.stderr), done.returncode


def lines(text: str) -> list[str]:
    """Lines without warnings, with podman's name and every id replaced."""
    return [re.sub(r"\b[0-9a-f]{64}\b", "ID", line.replace("podman ps", "podling ps")).rstrip() for line in text.splitlines()
            if "level=warning" not in line]


def argv(question: str) -> list[str]:
    """The question's words; an underscore stands for a blank in a template, and a table's template is one word."""
    parts = question.split(" ")
    if "table" in parts:
        at = parts.index("table")
        end = next((index for index, part in enumerate(parts) if index > at and part.startswith("--")), len(parts))
        parts[at:end] = [" ".join(parts[at:end])]
    return [part.replace("_", " ") if "{{" in part else part for part in parts]


@pytest.fixture(scope="module")
def answers(both: World) -> dict[str, dict[str, tuple[list[str], list[str], int]]]:
    """What each engine answers to each question."""
    found: dict[str, dict[str, tuple[list[str], list[str], int]]] = {}
    for engine in ("podman", "podling"):
        for container in CONTAINERS:
            run(both, engine, *container)
        found[engine] = {question: run(both, engine, *argv(question), check=False) for question in QUESTIONS}
        run(both, engine, "rm", "-af", "-t", "0")
    return found


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_answer_is_podmans(answers: dict[str, dict[str, tuple[list[str], list[str], int]]], question: str) -> None:
    output, errors, status = answers["podling"][question]
    their_output, their_errors, their_status = answers["podman"][question]
    if ".Ports" in question:                      # Podman goes through a map: tcp and udp come in any order
        output, their_output = ([" ".join(sorted(line.replace(",", "").replace("|", " ").split())) for line in lines]
                                for lines in (output, their_output))
    assert output == their_output
    assert status == their_status
    if question not in OTHER_WORDS:
        expected = [line.replace("inspecting object: ", "").replace("printing inspect output: ", "") for line in their_errors]
        assert errors[:len(expected)] == expected
