"""What the README promises to a newcomer: `make demo`, from a machine without a registry to the page, and nothing left."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.sandbox import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox import World

NGINX = shutil.which("nginx", path="/usr/local/sbin:/usr/sbin:/usr/bin:/usr/local/bin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="needs nginx (`make setup` installs it)")
DEMO = str(CHECKOUT / "scripts" / "demo")
IMAGE = "docker.io/library/nginx:latest"


@pytest.fixture(scope="module")
def demo_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tar that scripts/demo-image writes."""
    path = tmp_path_factory.mktemp("demo") / "nginx.tar"
    with path.open("wb") as file:
        subprocess.run([CHECKOUT / "scripts" / "demo-image"], stdout=file, check=True)
    return path


def test_the_demo_shows_the_page_and_leaves_nothing(host_like_world: World) -> None:
    """On the cgroup layout of this host, with the runtime that podling chooses for it."""
    said = host_like_world.run(DEMO, env={"REGISTRY_SECONDS": "2"}).stdout
    assert said.count("Welcome to nginx!") == 2
    assert "0.0.0.0:8080->80/tcp" in said
    assert "root:x:0:0" in said
    assert "nginx: worker process" in said
    assert "Exited (0)" in said
    assert said.endswith("nothing of it is left.\n")
    assert host_like_world.run("podling", "ps", "-aq").stdout == ""
    assert host_like_world.run("podling", "images", "-q").stdout == ""
    host_like_world.assert_nothing_left()


def test_another_port_is_taken_where_something_listens(world: World) -> None:
    listener = world.spawn("busybox", "nc", "-l", "-p", "8080", stdin=subprocess.PIPE)
    world.wait_until(lambda: world.run("ss", "-Hltn", "sport = :8080").stdout, "nc listens")
    said = world.run(DEMO, env={"REGISTRY_SECONDS": "1"}).stdout
    assert "takes 8081" in said
    assert said.count("Welcome to nginx!") == 2
    listener.kill()
    listener.wait()
    world.assert_nothing_left()


def test_a_container_and_an_image_of_the_user_stay(world: World, demo_image: Path) -> None:
    world.run("podling", "import", "-q", "-c", 'CMD ["nginx", "-g", "daemon off;"]', str(demo_image), IMAGE)
    world.run("podling", "create", "-q", "--name", "nginx-test", IMAGE)
    refused = world.run(DEMO, check=False)
    assert refused.returncode == 1
    assert "leaves it alone" in refused.stderr
    assert world.run("podling", "ps", "-a", "--format", "{{.Names}}").stdout == "nginx-test\n"
    world.run("podling", "rm", "nginx-test")
    world.run(DEMO)
    assert world.run("podling", "images", "--format", "{{.Repository}}:{{.Tag}}").stdout == f"{IMAGE}\n"


def test_the_session_of_the_readme(world: World, runtime: str, demo_image: Path) -> None:
    """Word for word, on both runtimes."""
    world.run("podling", "import", "-q", "-c", 'CMD ["nginx", "-g", "daemon off;"]', "-c", "EXPOSE 80", "-c", "STOPSIGNAL SIGQUIT",
              str(demo_image), IMAGE)
    podling = ("podling", "--runtime", runtime)
    name = world.run(*podling, "run", "--name", "nginx-test", "-d", "-p", "8080:80/tcp", "docker.io/nginx").stdout.strip()
    assert len(name) == 64
    assert "nginx-test" in world.run("podling", "ps").stdout
    assert name in world.run("podling", "inspect", "nginx-test").stdout
    page = world.wait_until(lambda: world.run("curl", "-fsS", "http://localhost:8080", check=False).stdout, "the page")
    assert "Welcome to nginx!" in page
    world.wait_until(lambda: '"GET / HTTP/1.1" 200' in world.run("podling", "logs", "nginx-test").stdout, "the request in the log")
    assert "nginx: master process" in world.run("podling", "top", "nginx-test").stdout
    assert world.run("podling", "exec", "-i", "nginx-test", "sh", stdin=b"echo in; exit 3", check=False).returncode == 3
    assert world.run("podling", "stop", "nginx-test").stdout == "nginx-test\n"
    assert world.run("podling", "inspect", "-f", "{{.State.ExitCode}}", "nginx-test").stdout == "0\n"
    assert world.run(*podling, "start", "nginx-test").stdout == "nginx-test\n"
    assert world.run("podling", "rm", "-f", "nginx-test").stdout == "nginx-test\n"
    world.run("podling", "rmi", "docker.io/nginx")
    world.assert_nothing_left()
