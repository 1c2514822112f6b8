#!/usr/bin/python3
"""Time the networks of podling beside Podman's: bridges, published ports, throughput; as root and as an ordinary user.

    bench/networks.py [--runs 10] [--containers 100] [--only NAME,...] [--markdown FILE]

The same private world and the same rules as bench/compare.py. A ratio of throughput is better the larger it is.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import compare
from compare import Bench, Engine

from tests.support.busybox import busybox_archive

UID = 1500
HOME = "/run/bench-home"
RUNTIME = f"/run/user/{UID}"
TARGETS = {
    "run --rm, default bridge": 0.4, "1,000 published ports": 0.3, "rootless run --rm, no network": 0.65,
    "rootless run --rm, slirp4netns": 0.75, "rootless run --rm, bridge": 0.45,
}

PROGRAMS = ("/usr", "/lib", "/lib64")        # from the host, for iperf3 in the container
TRANSFER_SECONDS = 2

def add_user(base: Path) -> None:
    """An ordinary user with subordinate ids, in this mount namespace alone."""
    lines = {"passwd": f"bench:x:{UID}:{UID}::{HOME}:/bin/sh", "group": f"bench:x:{UID}:", "subuid": "bench:700000:65536",
             "subgid": "bench:700000:65536"}
    for name, line in lines.items():
        copy = base / name
        copy.write_text(Path(f"/etc/{name}").read_text() + line + "\n")
        subprocess.run(["mount", "--bind", str(copy), f"/etc/{name}"], check=True)
    os.mknod("/run/tun", 0o20666, os.makedev(10, 200))
    os.chmod("/run/tun", 0o666)              # as udev has it
    subprocess.run(["mount", "--bind", "/run/tun", "/dev/net/tun"], check=True)
    for directory in (HOME, RUNTIME):
        os.makedirs(directory, mode=0o700)
        os.chown(directory, UID, UID)

def as_user(name: str, argv: list[str]) -> Engine:
    """An engine that the ordinary user calls."""
    return Engine(name, ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "env", "-i", f"HOME={HOME}", "USER=bench",
                         f"XDG_RUNTIME_DIR={RUNTIME}", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", *argv])

def starts(bench: Bench, prefix: str, networks: dict[str, str]) -> None:
    """``run --rm IMAGE true`` on each of the networks: label -> --network."""
    for label, network in networks.items():
        bench.measure(f"{prefix}run --rm, {label}", lambda e, network=network: e.seconds("run", "--rm", "--network", network, "bb", "true"))

def many(bench: Bench, count: int) -> None:
    """Containers with one published port each, started one after the other and removed together."""

    def work(engine: Engine) -> float:
        begin = time.perf_counter()
        for number in range(count):
            engine.run("run", "-d", "-p", f"{20000 + number}:80", "bb", "sleep", "1000")
        engine.run("rm", "-af", "-t", "0")
        return time.perf_counter() - begin

    bench.measure(f"{count} containers with a port, started and removed", work, runs=1, unit="s")

def ports(bench: Bench) -> None:
    """A container with a thousand published ports, as one range."""
    bench.measure("1,000 published ports", lambda e: e.seconds("run", "--rm", "-p", "20000-20999:20000-20999", "bb", "true"),
                  runs=3, unit="s")

def throughput(bench: Bench, prefix: str, networks: dict[str, str]) -> None:
    """Bytes a second that a client on the host sends through a published port."""
    binds = [word for path in PROGRAMS for word in ("-v", f"{path}:{path}:ro")]

    def work(engine: Engine, network: str) -> float:
        engine.run("run", "-d", "--name", "server", "--network", network, "-p", "25201:5201", *binds, "bb", "/usr/bin/iperf3", "-s")
        try:
            return transferred("25201")
        finally:
            engine.run("rm", "-f", "-t", "0", "server")

    for label, network in networks.items():
        bench.measure(f"{prefix}TCP through a port, {label}", lambda e, network=network: work(e, network), runs=2, unit="MB")

def transferred(port: str) -> float:
    """Bytes a second to an iperf3 behind a port of this host, once it answers."""
    for _ in range(100):
        done = subprocess.run(["iperf3", "-c", "127.0.0.1", "-p", port, "-t", str(TRANSFER_SECONDS), "-J"], capture_output=True,
                              check=False)
        found = json.loads(done.stdout)["end"].get("sum_received") if done.returncode == 0 else None
        if found:                            # a server that was not ready yet answers without
            return float(found["bits_per_second"]) / 8
        time.sleep(0.05)
    sys.exit(f"iperf3 behind port {port} does not answer: {done.stdout.decode()}")

def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--containers", type=int, default=100)
    parser.add_argument("--only", default="")
    parser.add_argument("--markdown", default="")
    options = parser.parse_args()
    if os.geteuid() != 0 or shutil.which("podman") is None or shutil.which("iperf3") is None:
        sys.exit("the comparison needs root, and podman and iperf3 installed")
    compare.enter(sys.argv[1:], os.path.abspath(__file__))
    compare.TARGETS = {**TARGETS, f"{options.containers} containers with a port, started and removed": 0.4}
    base = Path(tempfile.mkdtemp(prefix="podling-bench-", dir="/dev/shm"))
    base.chmod(0o755)
    engines = [Engine("podling", [str(compare.PODLING)]), Engine("podman", ["podman"])]
    users = [as_user("podling", [str(compare.PODLING)]), as_user("podman", ["podman"])]
    only = {word for word in options.only.split(",") if word}
    bench, rootless = Bench(engines, options.runs, only), Bench(users, options.runs, only)
    print("| work | podling | podman | ratio | target | |\n|---|---|---|---|---|---|", flush=True)
    try:
        compare.build_world(base)
        add_user(base)
        archive = busybox_archive(base)
        archive.chmod(0o644)
        for engine in (*engines, *users):
            engine.run("load", "-q", "-i", str(archive))
            engine.run("tag", "localhost/bb:latest", "bb")
            engine.run("network", "create", f"{engine.name}net")
        starts(bench, "", {"default bridge": "podman"})
        bench.measure("run --rm, bridge with DNS", lambda e: e.seconds("run", "--rm", "--network", f"{e.name}net", "bb", "true"))
        ports(bench)
        many(bench, options.containers)
        throughput(bench, "", {"default bridge": "podman"})
        starts(rootless, "rootless ", {"no network": "none", "slirp4netns": "slirp4netns", "bridge": "podman"})
        throughput(rootless, "rootless ", {"slirp4netns": "slirp4netns", "bridge": "podman"})
    finally:
        for engine in (*engines, *users):
            engine.run("rm", "-af", "-t", "0", check=False)
        shutil.rmtree(base, ignore_errors=True)
    if options.markdown:
        Path(options.markdown).write_text("\n".join(bench.line(row) for row in (*bench.rows, *rootless.rows)) + "\n")

if __name__ == "__main__":
    main()
