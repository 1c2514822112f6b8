"""``pull``, ``push``, ``login`` and ``logout`` with a real registry, as a user sees them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.busybox import busybox_archive
from tests.support.registry import PASSWORD, USER, RunningRegistry, serve

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.sandbox import World

MAIN = str(Path(__file__).resolve().parents[2] / "src" / "podling" / "__main__.py")
pytestmark = pytest.mark.skipif(shutil.which("docker-registry") is None,
                                reason="needs docker-registry (`make setup` installs it)")


def podling(*argv: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command line with this interpreter, whose environment has the HTTP client."""
    done = subprocess.run([sys.executable, "-I", "-S", MAIN, *argv], input=stdin, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 or not check, f"{argv}: {done.stdout}{done.stderr}"
    return done


def shown(*argv: str) -> list[str]:
    return podling(*argv).stdout.splitlines()


def with_registry(world: World, story: Callable[[RunningRegistry], None], **options: Any) -> None:
    """Tell the story in the world, beside a registry; ``localhost/bb`` is in the store."""

    def tell() -> None:
        archive = busybox_archive(Path("/run"))
        podling("load", "-q", "-i", str(archive))
        with serve(Path("/run/registry"), **options) as registry:
            story(registry)

    world.call(tell)


def test_what_is_pushed_is_pulled_again(world: World) -> None:
    def story(registry: RunningRegistry) -> None:
        image_id = shown("images", "-q", "--no-trunc")[0].removeprefix("sha256:")
        name = f"{registry.host}/a/bb:1"
        pushed = podling("push", "--tls-verify=false", "--digestfile", "/run/digest", "bb", name)
        assert pushed.stdout == ""
        assert "Writing manifest to image destination" in pushed.stderr
        digest = Path("/run/digest").read_text(encoding="ascii")
        assert json.loads(registry.skopeo("inspect", f"docker://{name}"))["Digest"] == digest
        podling("rmi", "-f", "bb")
        pulled = podling("pull", "--tls-verify=false", name)
        assert pulled.stdout == image_id + "\n"
        assert pulled.stderr.splitlines()[0] == f"Trying to pull {name}..."
        assert shown("images", "--format", "{{.Repository}}:{{.Tag}} {{.Digest}}") == [f"{name} {digest}"]
        assert shown("image", "inspect", "--format", "{{.RepoDigests}}", name) == [f"[{registry.host}/a/bb@{digest}]"]

    with_registry(world, story)


def test_quiet_says_only_the_id(world: World) -> None:
    def story(registry: RunningRegistry) -> None:
        podling("push", "-q", "--tls-verify=false", "bb", f"{registry.host}/bb")
        done = podling("pull", "-q", "--tls-verify=false", f"{registry.host}/bb")
        assert (len(done.stdout), done.stderr) == (65, "")

    with_registry(world, story)


def test_an_image_just_pulled_is_pushed_without_sending_anything(world: World) -> None:
    def story(registry: RunningRegistry) -> None:
        podling("push", "-q", "--tls-verify=false", "bb", f"{registry.host}/bb")
        podling("rmi", "-f", "bb")
        podling("pull", "-q", "--tls-verify=false", f"{registry.host}/bb")
        registry.forget_log()
        podling("push", "-q", "--tls-verify=false", f"{registry.host}/bb", f"{registry.host}/bb:again")
        assert registry.requests("PATCH") == []
        podling("push", "-q", "--tls-verify=false", f"{registry.host}/bb", f"{registry.host}/other")
        assert registry.requests("PATCH") == []

    with_registry(world, story)


def test_policies(world: World) -> None:
    def story(registry: RunningRegistry) -> None:
        name = f"{registry.host}/bb"
        podling("push", "-q", "--tls-verify=false", "bb", name)
        refused = podling("pull", "--policy", "never", "--tls-verify=false", name, check=False)
        assert refused.returncode == 125
        assert f"Error: {name}: image not known" in refused.stderr
        podling("pull", "-q", "--policy", "missing", "--tls-verify=false", name)
        registry.forget_log()
        podling("pull", "-q", "--policy", "missing", "--tls-verify=false", name)
        assert registry.requests() == []
        podling("pull", "-q", "--policy", "newer", "--tls-verify=false", name)
        assert registry.requests("GET", "/blobs/") == []

    with_registry(world, story)


def test_all_tags(world: World) -> None:
    def story(registry: RunningRegistry) -> None:
        for tag in ("1", "2", "latest"):
            podling("push", "-q", "--tls-verify=false", "bb", f"{registry.host}/bb:{tag}")
        podling("pull", "-q", "-a", "--tls-verify=false", f"{registry.host}/bb")
        tags = shown("images", "--format", "{{.Tag}}", "-f", f"reference={registry.host}/bb")
        assert sorted(tags) == ["1", "2", "latest", "latest"]
        refused = podling("pull", "-a", "--tls-verify=false", f"{registry.host}/bb:1", check=False)
        assert "tag can't be used with --all-tags/-a" in refused.stderr

    with_registry(world, story)


def test_an_image_by_digest_has_no_tag(world: World) -> None:
    def story(registry: RunningRegistry) -> None:
        podling("push", "-q", "--tls-verify=false", "--digestfile", "/run/digest", "bb", f"{registry.host}/bb")
        digest = Path("/run/digest").read_text(encoding="ascii")
        podling("rmi", "-f", "bb")
        podling("pull", "-q", "--tls-verify=false", f"{registry.host}/bb@{digest}")
        assert shown("images", "--format", "{{.Repository}}:{{.Tag}} {{.Dangling}}") == [f"{registry.host}/bb:<none> false"]
        assert shown("image", "inspect", "--format", "{{.RepoTags}}{{.NamesHistory}}", f"{registry.host}/bb@{digest}") == [
            f"[][{registry.host}/bb@{digest}]"]
        assert shown("image", "prune", "-f") == []
        podling("image", "exists", f"{registry.host}/bb@{digest}")

    with_registry(world, story)


def test_a_digest_is_a_name_that_keeps_an_image(world: World) -> None:
    def story(registry: RunningRegistry) -> None:
        name = f"{registry.host}/bb"
        podling("push", "-q", "--tls-verify=false", "--digestfile", "/run/digest", "bb", f"{name}:1")
        digest = Path("/run/digest").read_text(encoding="ascii")
        podling("rmi", "-f", "bb")
        podling("pull", "-q", "--tls-verify=false", f"{name}@{digest}")
        podling("pull", "-q", "--tls-verify=false", f"{name}:1")
        assert shown("images", "--format", "{{.Repository}}:{{.Tag}}") == [f"{name}:1"]
        assert shown("rmi", f"{name}:1") == [f"Untagged: {name}:1"]
        assert shown("images", "--format", "{{.Repository}}:{{.Tag}}") == [f"{name}:<none>"]
        podling("save", "-q", "-o", "/run/nameless.tar", f"{name}@{digest}")     # Docker's archives have tags alone
        assert json.loads(subprocess.check_output(["tar", "xOf", "/run/nameless.tar", "manifest.json"]))[0]["RepoTags"] == []
        removed = shown("rmi", f"{name}@{digest}")
        assert removed[0] == f"Untagged: {name}@{digest}"
        assert len(removed) == 2
        assert shown("images", "-q") == []

    with_registry(world, story)


def test_a_push_without_a_registry_goes_to_docker_hub(world: World) -> None:
    """Wherever short names are searched, and whatever registry ``localhost`` may be."""
    def story(registry: RunningRegistry) -> None:
        Path("/etc/containers/registries.conf").write_text(
            f'unqualified-search-registries = ["{registry.host}"]\n[[registry]]\nlocation = "docker.io"\nblocked = true\n',
            encoding="ascii")
        podling("tag", "bb", "me/bb", f"{registry.host}/own/tool:1")
        for argv in (("bb",), ("me/bb",), ("bb", "me/bb"), ("bb", "docker://me/bb")):
            refused = podling("push", "--tls-verify=false", *argv, check=False)
            assert "registry docker.io is blocked" in refused.stderr
        podling("push", "-q", "--tls-verify=false", "own/tool:1")
        assert len(registry.requests("PUT", "/own/tool/manifests/1")) == 1

    with_registry(world, story)


def test_a_short_name_s_way_is_told(world: World) -> None:
    def story(registry: RunningRegistry) -> None:
        podling("push", "-q", "--tls-verify=false", "bb", f"{registry.host}/tool")
        conf = Path("/etc/containers/registries.conf")
        conf.write_text(f'unqualified-search-registries = ["{registry.host}"]\n[aliases]\n"kit" = "{registry.host}/tool"\n',
                        encoding="ascii")
        told = podling("pull", "--tls-verify=false", "tool").stderr.splitlines()
        assert told[:2] == [f'Resolving "tool" using unqualified-search registries ({conf})',
                            f"Trying to pull {registry.host}/tool:latest..."]
        told = podling("pull", "--tls-verify=false", "kit").stderr.splitlines()
        assert told[:2] == [f'Resolved "kit" as an alias ({conf})', f"Trying to pull {registry.host}/tool:latest..."]
        conf.unlink()
        told = podling("pull", "--retry=0", "--tls-verify=false", "nosuch", check=False).stderr.splitlines()
        assert told[0] == 'Resolving "nosuch" using docker.io, because no registries.conf names registries to search'

    with_registry(world, story)


def test_a_login_file_that_is_not_there_is_an_error(world: World) -> None:
    def story(registry: RunningRegistry) -> None:
        for argv in (("pull", f"{registry.host}/bb"), ("push", "bb", f"{registry.host}/bb"), ("search", f"{registry.host}/b"),
                     ("logout", registry.host), ("logout", "--all")):
            tls = ["--tls-verify=false"] if argv[0] != "logout" else []
            refused = podling(argv[0], *tls, "--authfile", "/run/nope.json", *argv[1:], check=False)
            assert refused.returncode == 125, argv
            assert "Error: credential file is not accessible: stat /run/nope.json: no such file or directory" in refused.stderr
        assert registry.requests() == []

    with_registry(world, story)


@pytest.mark.parametrize(("argv", "words"), [
    (("pull", "--tls-verify=false", "HOST/nope"),
     "Error: initializing source docker://HOST/nope:latest: reading manifest latest in HOST/nope: manifest unknown"),
    (("pull", "HOST/bb"), "http: server gave HTTP response to HTTPS client"),
    (("push", "bb", "HOST/bb"), 'Error: pushing image "bb" to "docker://HOST/bb:latest": '),
    (("push", "nope", "HOST/bb"), "Error: nope: image not known"),
    (("pull", "HOST/A"), "Error: invalid reference format: repository name (A) must be lowercase"),
])
def test_what_fails_says_why(world: World, argv: tuple[str, ...], words: str) -> None:
    def story(registry: RunningRegistry) -> None:
        done = podling(*(word.replace("HOST", registry.host) for word in argv), check=False)
        assert done.returncode == 125
        assert words.replace("HOST", registry.host) in done.stderr

    with_registry(world, story)


@pytest.mark.parametrize("kind", ["basic", "token"])
def test_login(world: World, kind: str) -> None:
    def story(registry: RunningRegistry) -> None:
        host = registry.host
        insecure = ("--tls-verify=false", host)
        wrong = podling("login", "-u", USER, "-p", "wrong", *insecure, check=False)
        assert wrong.returncode == 125
        assert f'Error: logging into "{host}": invalid username/password' in wrong.stderr
        assert podling("login", "--get-login", host, check=False).returncode == 125
        refused = podling("push", "--tls-verify=false", "bb", f"{host}/private/bb", check=False)
        assert refused.returncode == 125
        assert podling("login", "-u", USER, "--password-stdin", *insecure, stdin=PASSWORD + "\n").stdout == "Login Succeeded!\n"
        assert shown("login", "--get-login", host) == [USER]
        assert Path("/run/containers/0/auth.json").stat().st_mode & 0o777 == 0o600
        assert shown("login", *insecure) == [f"Authenticating with existing credentials for {host}",
                                             f"Existing credentials are valid. Already logged in to {host}"]
        podling("push", "-q", "--tls-verify=false", "bb", f"{host}/private/bb")
        assert shown("logout", host) == [f"Removed login credentials for {host}"]
        again = podling("logout", host, check=False)
        assert (again.returncode, again.stderr) == (125, f"Error: not logged into {host}\n")
        assert podling("pull", "--tls-verify=false", f"{host}/private/bb", check=False).returncode == 125
        podling("pull", "-q", "--tls-verify=false", "--creds", f"{USER}:{PASSWORD}", f"{host}/private/bb")

    with_registry(world, story, login=kind)


def test_login_asks_for_what_was_not_said(world: World) -> None:
    def story(registry: RunningRegistry) -> None:
        refused = podling("login", "--tls-verify=false", registry.host, stdin="someone\n", check=False)
        assert refused.stdout == "Username: "
        assert "standard input is not a terminal" in refused.stderr
        refused = podling("login", "--password-stdin", registry.host, stdin="x", check=False)
        assert "must provide --username with --password-stdin" in refused.stderr

    with_registry(world, story, login="basic")


def test_tls_with_a_ca_of_its_own(world: World) -> None:
    def story(registry: RunningRegistry) -> None:
        name = f"{registry.host}/bb"
        refused = podling("push", "bb", name, check=False)
        assert "certificate" in refused.stderr
        assert "Put the registry's CA into /etc/containers/certs.d/HOST:PORT/ca.crt" in refused.stderr
        assert registry.ca is not None
        Path("/run/ca").mkdir()
        shutil.copy(registry.ca, "/run/ca/ca.crt")
        podling("push", "-q", "--cert-dir", "/run/ca", "bb", name)
        certs = Path(f"/etc/containers/certs.d/{registry.host}")
        certs.mkdir(parents=True)
        shutil.copy(registry.ca, certs / "ca.crt")
        podling("pull", "-q", name)

    with_registry(world, story, tls=True)


def test_a_mirror_serves_and_a_blocked_registry_does_not(world: World) -> None:
    def story(registry: RunningRegistry) -> None:
        podling("push", "-q", "--tls-verify=false", "bb", f"{registry.host}/mirror/bb")
        Path("/etc/containers/registries.conf.d").mkdir(parents=True, exist_ok=True)
        Path("/etc/containers/registries.conf.d/zz.conf").write_text(
            f'[[registry]]\nlocation = "example.com/app"\n[[registry.mirror]]\nlocation = "{registry.host}/mirror"\n'
            'insecure = true\n[[registry]]\nlocation = "bad.example.com"\nblocked = true\n', encoding="ascii")
        podling("pull", "-q", "example.com/app/bb")
        assert "example.com/app/bb:latest" in shown("images", "--format", "{{.Repository}}:{{.Tag}}")
        blocked = podling("pull", "bad.example.com/x", check=False)
        assert "registry bad.example.com is blocked" in blocked.stderr

    with_registry(world, story)


def test_a_policy_that_rejects_is_obeyed(world: World) -> None:
    def story(registry: RunningRegistry) -> None:
        podling("push", "-q", "--tls-verify=false", "bb", f"{registry.host}/bb")
        Path("/etc/containers/policy.json").write_text(json.dumps({
            "default": [{"type": "insecureAcceptAnything"}],
            "transports": {"docker": {registry.host: [{"type": "reject"}]}}}), encoding="ascii")
        refused = podling("pull", "--tls-verify=false", f"{registry.host}/bb", check=False)
        assert refused.returncode == 125
        assert f"Running image docker://{registry.host}/bb:latest is rejected by policy." in refused.stderr

    with_registry(world, story)


SHORT_NAMES = 'unqualified-search-registries = ["HOST", "localhost:1"]\nshort-name-mode = "enforcing"\n'


def test_a_short_name_is_asked_for_once(world: World) -> None:
    def story(registry: RunningRegistry) -> None:
        Path("/var/cache/containers").mkdir(exist_ok=True)     # where the answer is kept is not private to a world
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/var/cache/containers"], check=True)
        podling("push", "-q", "--tls-verify=false", "bb", f"{registry.host}/tool")
        Path("/etc/containers/registries.conf.d").mkdir(parents=True, exist_ok=True)
        Path("/etc/containers/registries.conf").write_text(SHORT_NAMES.replace("HOST", registry.host), encoding="ascii")
        refused = podling("pull", "--tls-verify=false", "tool", check=False)
        assert "short-name resolution enforced but cannot prompt without a TTY" in refused.stderr
        command = f"{sys.executable} -I -S {MAIN} pull --tls-verify=false tool"
        asked = subprocess.run(["script", "-qec", command, "/dev/null"], input="7\n1\n", capture_output=True, text=True,
                               timeout=60, check=True)
        assert f"1) {registry.host}/tool" in asked.stdout
        assert f"Trying to pull {registry.host}/tool:latest..." in asked.stdout
        podling("pull", "-q", "--tls-verify=false", "tool")

    with_registry(world, story)


def test_an_image_of_another_machine_is_told(world: World) -> None:
    """Whose programs say no more than "exec format error"; not where its platform was asked for."""
    def story(registry: RunningRegistry) -> None:
        subprocess.run(["sh", "-ec", "mkdir /run/root; echo hi >/run/root/f; tar cf /run/root.tar -C /run/root ."], check=True)
        podling("import", "-q", "--arch", "s390x", "/run/root.tar", "foreign:1")
        told = podling("create", "foreign:1", "true").stderr
        assert "image platform (linux/s390x) does not match the expected platform (linux/" in told
        assert podling("create", "--platform", "linux/s390x", "foreign:1", "true").stderr == ""
        assert podling("create", "bb", "true").stderr == ""

    with_registry(world, story)


def test_a_delay_that_was_asked_for_does_not_grow(world: World) -> None:
    def story(_registry: RunningRegistry) -> None:
        refused = podling("pull", "--retry=3", "--retry-delay=100ms", "localhost:1/bb", check=False)
        tries = [line.partition("retrying in ")[2].partition(". Error")[0] for line in refused.stderr.splitlines()]
        assert [words for words in tries if words] == [f"0.1s ... ({number}/3)" for number in (1, 2, 3)]

    with_registry(world, story)
