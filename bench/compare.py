#!/usr/bin/python3
"""Time podling beside Podman: same machine, same minute, same image, same runtime, stores on tmpfs.

    bench/compare.py [--runs 10] [--only NAME,...] [--big] [--grow 1,100,1000] [--markdown FILE]

Runs as root in mount, network and pid namespaces of its own; nothing of the machine's containers is touched. Every figure is
a median of whole commands, the engines taking turns (A B A B ...); the ratio is podling / podman.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
PODLING = HERE.parent / "bin" / "podling"
sys.path[:0] = [str(HERE.parent), *(str(path) for path in HERE.parent.glob(".venv/lib/python3*/site-packages"))]

from tests.support.busybox import busybox_archive  # noqa: E402
from tests.support.images import write_big_layout, write_many_images  # noqa: E402

TARGETS = {
    "run --rm, no network": 0.65, "run --rm, default bridge": 0.4, "run --rm, bridge with names": 0.4,
    "run -d": 0.7, "stop": 0.7, "rm -f": 0.7, "exec": 0.5,
    "ps -a, 100 containers": 0.8, "images, 100 images": 0.8, "inspect": 0.8, "info": 0.3,
    "pull, 480 MB": 0.35, "save, 480 MB": 0.35, "load, 480 MB": 0.35, "push, 480 MB": 0.35, "commit, 480 MB": 0.35,
    "idle container's memory": 1.0,
    "pull, 5 MB": 0.6, "save, 5 MB": 0.6, "load, 5 MB": 0.6, "push, 5 MB": 0.6, "commit, 5 MB": 0.6,
    "images, 1000 images of 10 layers": 1.0,
}


class Engine:
    """One of the two programs, with its own store."""

    def __init__(self, name: str, argv: list[str]) -> None:
        self.name = name
        self.argv = argv

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run([*self.argv, *arguments], capture_output=True, check=False)
        if check and done.returncode:
            sys.exit(f"{self.name} {' '.join(arguments)}: status {done.returncode}: {done.stderr.decode()}")
        return done

    def seconds(self, *arguments: str) -> float:
        """The wall time of one command."""
        begin = time.perf_counter()
        self.run(*arguments)
        return time.perf_counter() - begin


class Bench:
    """The engines, how often to run, and what came out."""

    def __init__(self, engines: list[Engine], runs: int, only: set[str]) -> None:
        self.engines = engines
        self.runs = runs
        self.only = only
        self.rows: list[tuple[str, float, float, str]] = []

    def wanted(self, name: str) -> bool:
        return not self.only or any(word in name for word in self.only)

    def measure(self, name: str, work: Callable[[Engine], float], *, runs: int | None = None, unit: str = "ms") -> None:
        """Run ``work`` on each engine in turn; it returns what it measured (seconds or bytes)."""
        if not self.wanted(name):
            return
        values: dict[str, list[float]] = {engine.name: [] for engine in self.engines}
        warm_up = runs != 1                  # what can be done once only is measured the first time
        for turn in range((runs or self.runs) + warm_up):
            for engine in self.engines:
                value = work(engine)
                if turn or not warm_up:
                    values[engine.name].append(value)
        ours, theirs = (statistics.median(values[engine.name]) for engine in self.engines)
        self.rows.append((name, ours, theirs, unit))
        print(self.line(self.rows[-1]), flush=True)

    @staticmethod
    def line(row: tuple[str, float, float, str]) -> str:
        name, ours, theirs, unit = row
        scale = {"ms": 1000, "s": 1, "MB": 1e-6, "kB": 1 / 1024}[unit]
        ratio, target = ours / theirs, TARGETS.get(name)
        verdict = "" if target is None else f"| {target} | {'met' if ratio <= target else 'NOT MET'} "
        return f"| {name} | {ours * scale:.1f} {unit} | {theirs * scale:.1f} {unit} | {ratio:.2f} {verdict or '| | '}|"


# --- the private world ------------------------------------------------------------------------------------------------


def enter(arguments: list[str], program: str = __file__) -> None:
    """Start again in namespaces of our own, then build the world there."""
    if os.environ.get("PODLING_BENCH_INSIDE") != "1":
        os.environ["PODLING_BENCH_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
                              "--propagation", "private", sys.executable, program, *arguments])


def build_world(base: Path) -> None:
    """Empty /run and /etc/containers, no cgroup v2 mount (crun 1.8 refuses a hybrid hierarchy), loopback and an uplink."""
    for directory in ("/run", "/var/lib/containers"):
        os.makedirs(directory, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", directory], check=True)
    os.makedirs("/run/lock", exist_ok=True)
    etc = base / "etc"
    etc.mkdir()
    (etc / "policy.json").write_text('{"default":[{"type":"insecureAcceptAnything"}]}')
    (etc / "registries.conf").write_text('unqualified-search-registries = ["localhost:5000"]\n'
                                         '[[registry]]\nlocation = "localhost:5000"\ninsecure = true\n')
    (etc / "storage.conf").write_text('[storage]\ndriver = "overlay"\nrunroot = "/run/containers/storage"\n'
                                      'graphroot = "/var/lib/containers/storage"\n')
    limits = [resource.getrlimit(which)[1] for which in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC)]
    nofile, nproc = (value if value > 0 else 1048576 for value in limits)
    (etc / "containers.conf").write_text(
        f'[containers]\ndefault_ulimits = ["nofile={nofile}:{nofile}", "nproc={nproc}:{nproc}"]\nlog_driver = "k8s-file"\n'
        '[engine]\nruntime = "crun"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n')
    os.makedirs("/etc/containers", exist_ok=True)
    subprocess.run(["mount", "--bind", str(etc), "/etc/containers"], check=True)
    if os.path.ismount("/sys/fs/cgroup/unified"):
        subprocess.run(["umount", "/sys/fs/cgroup/unified"], check=True)
    for command in ("ip link set lo up", "ip link add up0 type veth peer name up1", "ip addr add 198.51.100.2/24 dev up0",
                    "ip link set up0 up", "ip link set up1 up", "ip route add default via 198.51.100.1 dev up0"):
        subprocess.run(command.split(), check=True)


def start_registry(base: Path) -> subprocess.Popen[bytes]:
    """Debian's docker-registry on localhost:5000, its store on tmpfs."""
    config = base / "registry.yml"
    config.write_text(f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {base}/registry}}, "
                      "delete: {enabled: true}}\nhttp: {addr: '127.0.0.1:5000'}\n")
    server = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(100):
        if subprocess.run(["curl", "-fso", "/dev/null", "http://127.0.0.1:5000/v2/"], check=False).returncode == 0:
            return server
        time.sleep(0.05)
    sys.exit("docker-registry did not start")


# --- the work ---------------------------------------------------------------------------------------------------------


def containers(bench: Bench) -> None:
    """Short commands around one container."""
    bench.measure("run --rm, no network", lambda e: e.seconds("run", "--rm", "--network", "none", "bb", "true"))
    bench.measure("run --rm, default bridge", lambda e: e.seconds("run", "--rm", "bb", "true"))
    for engine in bench.engines:                 # one each: they take turns faster than a name server lets go of its address
        engine.run("network", "create", f"of-{engine.name}")
    bench.measure("run --rm, bridge with names", lambda e: e.seconds("run", "--rm", "--network", f"of-{e.name}", "bb", "true"))
    bench.measure("run --rm, host network", lambda e: e.seconds("run", "--rm", "--network", "host", "bb", "true"))
    bench.measure("create", created)
    for name, which in (("run -d", 0), ("stop", 1), ("rm -f", 2)):
        bench.measure(name, lambda e, which=which: life(e, "none")[which])
        bench.measure(name + ", default bridge", lambda e, which=which: life(e, "bridge")[which])
    for engine in bench.engines:
        engine.run("run", "-d", "--name", "idle", "--network", "none", "bb", "sleep", "1000")
    bench.measure("exec", lambda e: e.seconds("exec", "idle", "true"))
    bench.measure("inspect", lambda e: e.seconds("inspect", "idle"))
    bench.measure("ps", lambda e: e.seconds("ps"))
    bench.measure("info", lambda e: e.seconds("info"))
    bench.measure("--version", lambda e: e.seconds("--version"))
    for engine in bench.engines:
        engine.run("rm", "-f", "-t", "0", "idle")
    bench.measure("idle container's memory", overhead, unit="kB")


def created(engine: Engine) -> float:
    """One ``create``; the container is removed outside the clock."""
    took = engine.seconds("create", "--name", "c", "--network", "none", "bb", "true")
    engine.run("rm", "c")
    return took


TRAP = "trap 'exit 0' TERM; while :; do sleep 0.01; done"


def life(engine: Engine, network: str) -> tuple[float, float, float]:
    """Seconds of ``run -d``, ``stop`` and ``rm -f`` of a container that obeys SIGTERM."""
    started = engine.seconds("run", "-d", "--name", "life", "--network", network, "bb", "sh", "-c", TRAP)
    time.sleep(0.05)
    stopped = engine.seconds("stop", "life")
    engine.run("start", "life")
    time.sleep(0.05)
    removed = engine.seconds("rm", "-f", "-t", "0", "life")
    return started, stopped, removed


def overhead(engine: Engine) -> float:
    """Memory of the process that watches a container, without the container's own: what is not shared with the page cache.

    Of a new container each time: where its stack begins is random, and with it a page more or less.
    """
    engine.run("run", "-d", "--name", "idle", "--network", "none", "bb", "sleep", "1000")
    pid = int(engine.run("inspect", "--format", "{{.State.Pid}}", "idle").stdout)
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    used = memory(parent, "Pss_Anon:")
    engine.run("rm", "-f", "-t", "0", "idle")
    return used


def memory(pid: int, field: str = "Pss:") -> float:
    """Bytes of memory that a process accounts for, shared pages divided among their users."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise ValueError(f"no {field} of {pid}")


def lists(bench: Bench, counts: list[int], base: Path) -> None:
    """Commands whose cost may grow with what is there."""
    have = {engine.name: 0 for engine in bench.engines}
    for count in counts:
        for engine in bench.engines:
            fill(engine, have[engine.name], count, base)
            have[engine.name] = count
        bench.measure(f"ps -a, {count} containers", lambda e: e.seconds("ps", "-a"))
        bench.measure(f"images, {count} images", lambda e: e.seconds("images"))
        bench.measure(f"run --rm, no network, {count} containers and images",
                      lambda e: e.seconds("run", "--rm", "--network", "none", "bb", "true"))


def fill(engine: Engine, have: int, count: int, base: Path) -> None:
    """Make containers and images until there are ``count``."""
    tar = base / "tiny.tar"
    if not tar.exists():
        (base / "tiny").mkdir()
        (base / "tiny" / "file").write_text("tiny")
        subprocess.run(["tar", "-C", str(base / "tiny"), "-cf", str(tar), "file"], check=True)
    for number in range(have, count):
        engine.run("create", "--name", f"n{number}", "--network", "none", "bb", "true")
        if number:                               # bb itself is the first
            engine.run("import", "-c", f"LABEL n={number}", str(tar), f"localhost/n{number}:1")


def many(bench: Bench, count: int, base: Path) -> None:
    """A store with many images of ten layers each, nine of them shared; Podman 4.3.1 takes minutes to fill one."""
    archive = base / "many.tar"
    write_many_images(archive, count)
    for engine in bench.engines:
        engine.run("load", "-q", "-i", str(archive))
    archive.unlink()
    label = f"{count} images of 10 layers"
    bench.measure(f"images, {label}", lambda e: e.seconds("images"), runs=3)
    for part in (1, 2):
        chosen = [f"localhost/many/i{number}:1" for number in range(count) if number % 10 == part]
        bench.measure(f"rmi of {len(chosen)}, {label}, part {part}", lambda e, chosen=chosen: e.seconds("rmi", *chosen), runs=1)
    bench.measure(f"image prune -a, {label}", lambda e: e.seconds("image", "prune", "-af"), runs=1)


class Peak:
    """The highest memory (sum of Pss) of a process and its descendants while it runs."""

    def __init__(self, argv: list[str]) -> None:
        self.peak = 0.0
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        watcher = threading.Thread(target=self._watch)
        watcher.start()
        self.status = self.process.wait()
        watcher.join()

    def _watch(self) -> None:
        while self.process.poll() is None:
            total = 0.0
            for pid in [self.process.pid, *descendants(self.process.pid)]:
                try:
                    total += memory(pid)
                except (OSError, ValueError):
                    continue
            self.peak = max(self.peak, total)
            time.sleep(0.02)


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    try:
        children = [int(word) for task in os.listdir(f"/proc/{pid}/task")
                    for word in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
    except OSError:
        return found
    for child in children:
        found += [child, *descendants(child)]
    return found


def moving(bench: Bench, base: Path, runs: int, label: str, **shape: int) -> None:
    """Moving an image: of 480 MB in 8 layers and 47,000 files, or as ``shape`` says."""
    reference = f"localhost:5000/big:{label.replace(' ', '').lower()}"
    write_big_layout(base / "layout", **shape)
    subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{base}/layout:big", f"docker://{reference}"],
                   check=True)
    shutil.rmtree(base / "layout")

    def pull(engine: Engine) -> float:
        engine.run("rmi", "-f", reference, check=False)
        return engine.seconds("pull", "-q", "--tls-verify=false", reference)

    def save(engine: Engine) -> float:
        archive = base / f"{engine.name}.tar"
        archive.unlink(missing_ok=True)
        return engine.seconds("save", "-q", "-o", str(archive), reference)

    def load(engine: Engine) -> float:
        engine.run("rmi", "-f", reference)
        return engine.seconds("load", "-q", "-i", str(base / f"{engine.name}.tar"))

    def push(engine: Engine, compression: str = "gzip") -> float:
        shutil.rmtree(base / "registry" / "docker" / "registry" / "v2" / "repositories" / "pushed", ignore_errors=True)
        shutil.rmtree(base / "registry" / "docker" / "registry" / "v2" / "blobs", ignore_errors=True)
        return engine.seconds("push", "-q", "--tls-verify=false", "--compression-format", compression, reference,
                              "localhost:5000/pushed:1")

    bench.measure(f"pull, {label}", pull, runs=runs, unit="s")
    if not shape and bench.wanted("peak memory of a pull"):
        peaks = []
        for engine in bench.engines:
            engine.run("rmi", "-f", reference)
            peaks.append(Peak([*engine.argv, "pull", "-q", "--tls-verify=false", reference]).peak)
        bench.rows.append(("peak memory of a pull", peaks[0], peaks[1], "MB"))
        print(bench.line(bench.rows[-1]), flush=True)
    bench.measure(f"save, {label}", save, runs=runs, unit="s")
    bench.measure(f"load, {label}", load, runs=runs, unit="s")
    bench.measure(f"push, {label}", push, runs=runs, unit="s")
    bench.measure(f"push as zstd, {label}", lambda e: push(e, "zstd"), runs=runs, unit="s")


def commits(bench: Bench, base: Path, label: str, *, files: int, size: int, runs: int | None = None) -> None:
    """An image of a container that has written so many files of this size."""
    if not any(bench.wanted(name) for name in (f"commit, {label}", f"diff, {files} files")):
        return
    changed = base / "changed"
    for number in range(files):
        place = changed / f"{number // 500}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}").write_bytes(os.urandom(size))
    for engine in bench.engines:
        engine.run("create", "--name", "changed", "--network", "none", "bb", "true")
        engine.run("cp", str(changed), "changed:/srv")
    shutil.rmtree(changed)

    def commit(engine: Engine) -> float:
        (base / "new").write_bytes(os.urandom(13_000))       # each time another layer
        engine.run("cp", str(base / "new"), "changed:/srv/new")
        took = engine.seconds("commit", "-q", "changed", "committed")
        engine.run("rmi", "-f", "committed")
        return took

    bench.measure(f"commit, {label}", commit, runs=runs)
    bench.measure(f"diff, {files} files", lambda e: e.seconds("diff", "changed"), runs=runs)
    for engine in bench.engines:
        engine.run("rm", "-f", "changed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--big-runs", type=int, default=10)
    parser.add_argument("--program", default=str(PODLING), help="the podling to measure")
    parser.add_argument("--only", default="")
    parser.add_argument("--skip-big", action="store_true")
    parser.add_argument("--grow", default="1,100")
    parser.add_argument("--many", type=int, default=0, help="images of ten layers each, for `images`, `rmi` and `prune` of a large store")
    parser.add_argument("--markdown", default="")
    options = parser.parse_args()
    if os.geteuid() != 0 or shutil.which("podman") is None:
        sys.exit("the comparison needs root and an installed podman")
    enter(sys.argv[1:])
    base = Path(tempfile.mkdtemp(prefix="podling-bench-", dir="/dev/shm"))
    engines = [Engine("podling", [options.program]), Engine("podman", ["podman"])]
    bench = Bench(engines, options.runs, {word for word in options.only.split(",") if word})
    print("| work | podling | podman | ratio | target | |\n|---|---|---|---|---|---|", flush=True)
    registry = None
    try:
        build_world(base)
        registry = start_registry(base)
        archive = busybox_archive(base)
        for engine in engines:
            engine.run("load", "-q", "-i", str(archive))
            engine.run("tag", "localhost/bb:latest", "bb")
        containers(bench)
        lists(bench, [int(word) for word in options.grow.split(",") if word], base)
        commits(bench, base, "5 MB", files=400, size=13_000)
        moving(bench, base, options.runs, "5 MB", layers=3, files=400, size=5 << 20)
        if not options.skip_big:
            moving(bench, base, options.big_runs, "480 MB")
            commits(bench, base, "480 MB", files=47_000, size=10_200, runs=options.big_runs)
        if options.many:
            many(bench, options.many, base)
    finally:
        for engine in engines:
            engine.run("rm", "-af", "-t", "0", check=False)
        if registry is not None:
            registry.kill()
            registry.wait()
        shutil.rmtree(base, ignore_errors=True)
    if options.markdown:
        Path(options.markdown).write_text("\n".join(bench.line(row) for row in bench.rows) + "\n")
    versions = {engine.name: engine.run("--version").stdout.decode().strip() for engine in engines}
    print(json.dumps(versions))


if __name__ == "__main__":
    main()
