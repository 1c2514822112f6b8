"""Configurations of images, as Docker, BuildKit and Buildah write them."""

from __future__ import annotations

import json

import pytest

from podling.errors import Corrupt
from podling.model import Healthcheck, ImageConfig, Platform
from podling.store.imageconfig import parse_config


def test_everything():
    config = {
        "architecture": "arm64",
        "os": "linux",
        "variant": "v8",
        "created": "2024-01-02T03:04:05.678Z",
        "author": "me",
        "comment": "c",
        "config": {
            "User": "u:g",
            "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
            "Env": ["A=b", "C="],
            "Entrypoint": ["/e"],
            "Cmd": [],
            "Volumes": {"/v": {}},
            "WorkingDir": "/w",
            "Labels": {"l": "v"},
            "StopSignal": "SIGINT",
            "Shell": ["/bin/sh", "-c"],
            "OnBuild": ["RUN x"],
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1, "Timeout": 2, "StartPeriod": 3, "Retries": 4},
        },
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "a" * 64]},
        "history": [],
        "unknown": {"x": 1},
    }
    assert parse_config(json.dumps(config).encode()) == ImageConfig(
        platform=Platform(os="linux", architecture="arm64", variant="v8"),
        created=1_704_164_645_678_000_000,
        author="me",
        comment="c",
        user="u:g",
        env=("A=b", "C="),
        entrypoint=("/e",),
        cmd=(),
        working_dir="/w",
        stop_signal="SIGINT",
        volumes=("/v",),
        exposed_ports=("80/tcp", "53/udp"),
        labels={"l": "v"},
        shell=("/bin/sh", "-c"),
        on_build=("RUN x",),
        healthcheck=Healthcheck(test=("CMD", "true"), interval=1, timeout=2, start_period=3, retries=4),
        diff_ids=("sha256:" + "a" * 64,),
    )


@pytest.mark.parametrize(
    "text", ["{}", '{"config": null, "rootfs": null, "created": null}', '{"config": {"Cmd": null, "Labels": null}}']
)
def test_nothing(text):
    assert parse_config(text.encode()) == ImageConfig(platform=Platform(os="", architecture=""))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[]",
        "5",
        '"x"',
        '{"os": 5}',
        '{"config": []}',
        '{"config": {"Env": "A=b"}}',
        '{"config": {"Env": [5]}}',
        '{"config": {"Cmd": {}}}',
        '{"config": {"Labels": {"a": 1}}}',
        '{"config": {"Labels": ["a"]}}',
        '{"config": {"Volumes": ["/v"]}}',
        '{"config": {"User": ["x"]}}',
        '{"config": {"Healthcheck": {"Retries": "5"}}}',
        '{"config": {"Healthcheck": {"Retries": true}}}',
        '{"rootfs": {"diff_ids": "x"}}',
        '{"config": {"Env": ["A=\\u0000"]}}',
        '{"config": {"User": "a\\u0000b"}}',
        '{"config": {"Volumes": {"/\\u0000": {}}}}',
        '{"a"',
        "\xff",
    ],
)
def test_nonsense_is_corrupt(text):
    with pytest.raises(Corrupt, match="image configuration"):
        parse_config(text.encode("latin-1"))


def test_a_created_time_that_is_none_is_none():
    assert parse_config(b'{"created": "yesterday"}').created == 0
