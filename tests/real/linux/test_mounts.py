"""Real mounts, in private worlds."""

from __future__ import annotations

import errno
import os
import subprocess

import pytest

from podling.errors import InUse, PodlingError, Unsupported, explain
from podling.linux import files, mounts, syscalls

BASE = "/run/mounts"


@pytest.fixture
def inside(world):
    """Runs a function in the world, in a tmpfs of its own at BASE, and asserts that it leaves nothing mounted."""
    def run(function, *arguments):
        def body():
            os.makedirs(BASE)
            mounts.tmpfs(BASE, size=256 << 20)
            os.chdir(BASE)
            value = function(*arguments)
            left = [point for point in mounts.beneath(BASE) if point != BASE]
            assert not left, left
            os.chdir("/")
            assert mounts.unmount(BASE)
            return value
        return world.call(body)
    return run


def directory(path):
    os.makedirs(path, exist_ok=True)
    return os.path.abspath(path)


def layers(count, prefix="layers"):
    """Layers with a file each, topmost first; the file "all" is in each of them."""
    made = []
    for number in range(count):
        layer = directory(f"{prefix}/{number}")
        for name in (f"f{number}", "all"):
            with open(f"{layer}/{name}", "w") as file:
                file.write(str(number))
        made.append(layer)
    return made


def options_of(path):
    with open("/proc/self/mountinfo") as file:
        found = [line.split() for line in file if line.split()[4] == path]
    return found[-1]


# --- plain mounts -----------------------------------------------------------------------------------------------------


def test_tmpfs_has_size_mode_and_flags(inside):
    def body():
        target = directory("t")
        mounts.tmpfs(target, size=1 << 20, mode=0o1777, options=("nosuid", "nodev", "noexec"))
        state = os.statvfs(target)
        result = (os.stat(target).st_mode & 0o7777, state.f_frsize * state.f_blocks, options_of(target)[5])
        mounts.unmount(target)
        return result
    mode, size, options = inside(body)
    assert (mode, size) == (0o1777, 1 << 20)
    assert {"nosuid", "nodev", "noexec"} <= set(options.split(","))


def test_bind_of_directories_and_files(inside):
    def body():
        source, target = directory("s"), directory("t")
        for path in ("s/f", "file"):
            with open(path, "w") as file:
                file.write(path)
        mounts.bind(source, target)
        mounts.bind(f"{source}/f", f"{BASE}/file")
        result = open("t/f").read(), open("file").read()
        assert mounts.unmount(f"{BASE}/file")
        assert mounts.unmount(target)
        return result
    assert inside(body) == ("s/f", "s/f")


def test_a_read_only_bind_is_so_throughout(inside):
    def body():
        source, target = directory("s"), directory("t")
        mounts.tmpfs(directory("s/sub"), options=("nodev",))
        mounts.bind(source, target, read_only=True)
        refused = []
        for path in ("t/x", "t/sub/x"):
            try:
                open(path, "w").close()
            except OSError as error:
                refused.append(error.errno)
        open("s/sub/y", "w").close()
        assert mounts.unmount_all(target)
        assert mounts.unmount_all(source)
        return refused
    assert inside(body) == [errno.EROFS, errno.EROFS]


def test_unmounting_a_bind_leaves_the_source_alone(inside):
    """Mounts are shared where systemd runs: what is unmounted in one place then goes in the other, too."""
    def body():
        mounts.mount("s", directory("s"), "tmpfs", ["shared"])
        mounts.mount("sub", directory("s/sub"), "tmpfs", ["shared"])
        mounts.bind(f"{BASE}/s", directory("t"))
        removed = mounts.unmount_all(f"{BASE}/t")
        kept = mounts.beneath(f"{BASE}/s")
        mounts.unmount_all(f"{BASE}/s")
        return removed, kept
    assert inside(body) == (True, [f"{BASE}/s/sub", f"{BASE}/s"])


def test_a_bind_that_is_not_recursive_leaves_out_what_is_mounted_below(inside):
    def body():
        source, target = directory("s"), directory("t")
        mounts.tmpfs(directory("s/sub"))
        open("s/sub/x", "w").close()
        mounts.bind(source, target, recursive=False)
        result = os.listdir("t/sub")
        mounts.unmount_all(target)
        mounts.unmount_all(source)
        return result
    assert inside(body) == []


def test_read_only_keeps_the_other_flags(inside):
    def body():
        mounts.tmpfs(directory("s"), options=("nosuid", "noexec"))
        mounts.make_read_only(f"{BASE}/s")
        result = options_of(f"{BASE}/s")[5]
        mounts.unmount(f"{BASE}/s")
        return result
    assert {"ro", "nosuid", "noexec"} <= set(inside(body).split(","))


def test_propagation(inside):
    def body():
        mounts.mount("t", directory("a"), "tmpfs", ["shared"])
        shared = options_of(f"{BASE}/a")[6]
        mounts.set_propagation(f"{BASE}/a", "private")
        private = options_of(f"{BASE}/a")[6]
        mounts.unmount(f"{BASE}/a")
        return shared, private
    shared, private = inside(body)
    assert shared.startswith("shared:")
    assert private == "-"


def test_errors_name_the_target(inside):
    def body():
        caught = []
        for action in (lambda: mounts.tmpfs("/no/such"), lambda: mounts.mount("x", directory("t"), "no-such-fs"),
                       lambda: mounts.bind("/no/source", directory("t"))):
            try:
                action()
            except OSError as error:
                caught.append((error.errno, error.filename))
        return caught
    assert inside(body) == [(errno.ENOENT, "/no/such"), (errno.ENODEV, f"{BASE}/t"), (errno.ENOENT, f"{BASE}/t")]


# --- unmounting -------------------------------------------------------------------------------------------------------


def test_unmount_says_whether_there_was_one(inside):
    def body():
        target = directory("t")
        first = mounts.unmount(target), mounts.unmount(f"{target}/missing"), mounts.unmount(f"{BASE}/t/no/such")
        mounts.tmpfs(target)
        mounts.tmpfs(target)
        return first, mounts.is_mounted(target), mounts.unmount(target), mounts.is_mounted(target), mounts.unmount(target), \
            mounts.is_mounted(target), mounts.unmount(target)
    assert inside(body) == ((False, False, False), True, True, True, True, False, False)


def test_a_busy_mount_goes_only_lazily(inside):
    def body():
        target = directory("t")
        mounts.tmpfs(target)
        with open(f"{target}/f", "w"):
            try:
                mounts.unmount(target)
                refused = None
            except OSError as error:
                refused = error.errno, error.filename
            return refused, mounts.unmount(target, lazy=True), mounts.is_mounted(target)
    assert inside(body) == ((errno.EBUSY, f"{BASE}/t"), True, False)


def test_a_link_is_not_followed(inside):
    def body():
        mounts.tmpfs(directory("t"))
        os.symlink("t", "link")
        result = mounts.unmount(f"{BASE}/link"), mounts.is_mounted(f"{BASE}/t")
        mounts.unmount(f"{BASE}/t")
        return result
    assert inside(body) == (False, True)


def test_everything_beneath_is_found_deepest_first(inside):
    def body():
        paths = [directory(f"{BASE}/top {name}") for name in ("a", "a/b", "ab")]
        for path in [*paths, paths[1]]:
            mounts.tmpfs(directory(path))
        found = mounts.beneath(paths[0])
        through_link = mounts.beneath(os.path.join(BASE, "link")) if os.symlink("top a", "link") is None else []
        gone = mounts.unmount_all(paths[0])
        rest = mounts.is_mounted(paths[2])
        mounts.unmount_all(paths[2])
        return found, through_link, gone, rest
    found, through_link, gone, rest = inside(body)
    assert found == [f"{BASE}/top a/b", f"{BASE}/top a/b", f"{BASE}/top a"]
    assert through_link == found
    assert gone
    assert rest


def test_bind_mounts_of_one_file_system_are_mount_points(inside):
    def body():
        mounts.bind(directory("s"), directory("t"))
        open("file", "w").close()
        open("onto", "w").close()
        mounts.bind(f"{BASE}/file", f"{BASE}/onto")
        os.symlink("t", "link")
        result = [mounts.is_mounted(f"{BASE}/{name}") for name in ("t", "t/", "t/.", "onto", "s", "file", "link")]
        mounts.unmount(f"{BASE}/onto")
        mounts.unmount(f"{BASE}/t")
        return result
    assert inside(body) == [True, True, True, True, False, False, False]


def test_remove_tree_does_not_go_into_mounts(inside):
    def body():
        precious = directory("precious")
        open(f"{precious}/data", "w").close()
        directory("tree/deep")
        mounts.bind(precious, f"{BASE}/tree/deep")
        try:
            files.remove_tree(f"{BASE}/tree")
            refused = ""
        except InUse as error:
            refused = str(error)
        kept = os.listdir(precious)
        mounts.unmount(f"{BASE}/tree/deep")
        files.remove_tree(f"{BASE}/tree")
        return refused, kept, os.path.exists("tree")
    assert inside(body) == (f"removing {BASE}/tree: {BASE}/tree/deep is mounted", ["data"], False)


def test_remove_tree_overcomes_immutable_files(world):
    def body():
        top = directory("/tmp/immutable")
        for name in ("a", "a/b"):
            directory(f"{top}/{name}")
        open(f"{top}/a/b/f", "w").close()
        changed = subprocess.run(["chattr", "+i", f"{top}/a/b/f", f"{top}/a/b"], capture_output=True, check=False)
        subprocess.run(["chattr", "+a", f"{top}/a"], capture_output=True, check=False)
        return changed.returncode, files.remove_tree(top), os.path.exists(top)
    returned, removed, there = world.call(body)
    assert (removed, there) == (True, False)
    if returned:
        pytest.skip("the file system of /tmp has no immutable attribute")


# --- overlay ----------------------------------------------------------------------------------------------------------


def by_mount(target, *, lowers, upper=None, work=None, options=()):
    return mounts._overlay_by_mount(target, lowers, upper, work, options)


@pytest.fixture(params=["context", "mount"])
def overlay(request):
    """mounts.overlay by each of its two ways."""
    return mounts.overlay if request.param == "context" else by_mount


@pytest.mark.parametrize("count", [2, 120, 500])
def test_many_layers(inside, overlay, count):
    def body():
        lowers, target = layers(count), directory("m")
        overlay(target, lowers=lowers, upper=directory("u"), work=directory("w"))
        result = len(os.listdir(target)), open(f"{target}/all").read()
        with open(f"{target}/new", "w"):
            os.unlink(f"{target}/f0")
        written = sorted(os.listdir("u"))
        mounts.unmount(target)
        return result, written
    assert inside(body) == ((count + 1, "0"), ["f0", "new"])


def test_long_paths(inside, overlay):
    def body():
        prefix = "/".join(["d" * 200] * 3)
        lowers = layers(60, prefix)
        target = directory("m" * 250)
        overlay(target, lowers=lowers, upper=directory(f"{prefix}/upper"), work=directory(f"{prefix}/work"))
        result = len(os.listdir(target))
        mounts.unmount(target)
        return result
    assert inside(body) == 61


def test_names_with_every_odd_character(inside, overlay):
    def body():
        names = ["a:b", "c,d", "e\\f", "g\\:h", "i\\\\,j", " k ", "l\nm", "lowerdir=x", "é"]
        lowers = []
        for number, name in enumerate(names):
            lowers.append(directory(f"odd/{name}"))
            open(f"{lowers[-1]}/{number}", "w").close()
        target, upper, work = directory("m:,\\"), directory("u:,\\p"), directory("w:,\\p")
        overlay(target, lowers=lowers, upper=upper, work=work)
        found = sorted(os.listdir(target))
        open(f"{target}/new", "w").close()
        written = os.listdir(upper)
        mounts.unmount(target)
        return found == [str(number) for number in range(len(names))], written
    assert inside(body) == (True, ["new"])


def test_options_reach_the_overlay(inside, overlay):
    def body():
        target = directory("m")
        overlay(target, lowers=layers(2), upper=directory("u"), work=directory("w"),
                options=("nodev", "nosuid", "metacopy=on", "redirect_dir=on", "volatile", "private"))
        line = options_of(target)
        mounts.unmount(target)
        return line
    line = inside(body)
    assert {"nodev", "nosuid"} <= set(line[5].split(","))
    assert {"metacopy=on", "redirect_dir=on"} <= set(line[-1].split(","))
    assert {"volatile", "fsync=volatile"} & set(line[-1].split(","))        # newer kernels write it the second way


def test_without_an_upper_directory_it_is_read_only(inside, overlay):
    def body():
        target = directory("m")
        overlay(target, lowers=layers(3))
        try:
            open(f"{target}/x", "w").close()
            refused = None
        except OSError as error:
            refused = error.errno
        mounts.unmount(target)
        return refused
    assert inside(body) == errno.EROFS


def test_one_layer_alone_is_shown_read_only(inside):
    def body():
        target = directory("m")
        mounts.overlay(target, lowers=layers(1))
        try:
            open(f"{target}/x", "w").close()
            refused = None
        except OSError as error:
            refused = error.errno
        result = sorted(os.listdir(target)), refused
        mounts.unmount(target)
        return result
    assert inside(body) == (["all", "f0"], errno.EROFS)


def test_errors_say_what_is_wrong(inside):
    def body():
        lowers, target, upper, work = layers(2), directory("m"), directory("u"), directory("w")
        found = []
        for keywords in ({"lowers": [lowers[0], f"{BASE}/gone"]}, {"lowers": lowers, "upper": f"{BASE}/gone", "work": work},
                         {"lowers": lowers, "options": ("nonsense=1",)}, {"lowers": [f"{BASE}/gone"]},
                         {"lowers": lowers, "upper": upper, "work": directory("u/inside")}):
            try:
                mounts.overlay(target, **keywords)
                found.append("mounted")
            except PodlingError as error:
                found.append(explain(error))
        try:
            mounts.overlay(f"{BASE}/no-target", lowers=lowers)
        except PodlingError as error:
            found.append(explain(error))
        return found
    found = inside(body)
    assert f"{BASE}/gone" in found[0]
    assert "no such file or directory" in found[0]
    assert f"{BASE}/gone" in found[1]
    assert "nonsense" in found[2]
    assert f"{BASE}/gone" in found[3]
    assert f"mounting overlay on {BASE}/m" in found[4]
    assert f"mounting overlay on {BASE}/no-target" in found[5]


def test_too_few_descriptors_are_an_error_not_half_a_mount(inside):
    def body():
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowers, target = layers(200), directory("m")
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
        before = len(os.listdir("/proc/self/fd"))
        try:
            by_mount(target, lowers=[f"{lower}/{'./' * 20}" for lower in lowers])
            failed = None
        except PodlingError as error:
            failed = explain(error)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return failed, len(os.listdir("/proc/self/fd")) - before
    failed, leaked = inside(body)
    assert "too many open files" in failed
    assert leaked == 0


def test_an_overlay_in_a_user_namespace(inside):
    """As an ordinary user would mount it: with userxattr."""
    def body():
        lowers, target = layers(3), directory("m")
        upper, work = directory("u"), directory("w")
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
                for name, text in (("setgroups", "deny"), ("uid_map", "0 0 1"), ("gid_map", "0 0 1")):
                    with open(f"/proc/self/{name}", "w") as file:
                        file.write(text)
                mounts.overlay(target, lowers=lowers, upper=upper, work=work, options=("userxattr",))
                open(f"{target}/new", "w").close()
                status = 0
            except OSError as error:
                status = 77 if error.errno in (errno.EPERM, errno.ENOSPC) else 2
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), os.listdir("u")
    status, written = inside(body)
    if status == 77:
        pytest.skip("user namespaces are not allowed here")
    assert (status, written) == (0, ["new"])


def test_layers_beyond_the_kernel_s_limit(inside):
    def body():
        lowers = layers(501)
        try:
            mounts.overlay(directory("m"), lowers=lowers)
        except Unsupported as error:
            return str(error)
        return "mounted"
    assert "501 layers" in inside(body)


# --- system calls -----------------------------------------------------------------------------------------------------


def test_pivot_root_and_namespaces(world):
    def body():
        new = directory("/run/newroot")
        mounts.tmpfs(new)
        os.mkdir(f"{new}/old")
        syscalls.unshare(syscalls.CLONE_NEWNS)
        mounts.set_propagation("/", "rprivate")
        os.chdir(new)
        syscalls.pivot_root(".", "old")
        mounted = os.listdir("/")
        mounts.unmount("/old", lazy=True)
        return mounted, os.listdir("/old")
    assert world.call(body) == (["old"], [])


def test_setns_goes_back(world):
    def body():
        home = os.open("/proc/self/ns/uts", os.O_RDONLY)
        syscalls.unshare(syscalls.CLONE_NEWUTS)
        other = os.readlink("/proc/self/ns/uts")
        syscalls.setns(home, syscalls.CLONE_NEWUTS)
        return other != os.readlink("/proc/self/ns/uts")
    assert world.call(body)


def test_renameat2(inside):
    def body():
        for name in ("a", "b"):
            with open(name, "w") as file:
                file.write(name)
        syscalls.renameat2(f"{BASE}/a", f"{BASE}/b", syscalls.RENAME_EXCHANGE)
        try:
            syscalls.renameat2(f"{BASE}/a", f"{BASE}/b", syscalls.RENAME_NOREPLACE)
        except OSError as error:
            return open("a").read(), error.errno, error.filename, error.filename2
        return None
    assert inside(body) == ("b", errno.EEXIST, f"{BASE}/a", f"{BASE}/b")


def test_other_calls(world):
    def body():
        syscalls.set_process_name("a-very-long-name-indeed")
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        fd = os.open("/run", os.O_RDONLY)
        syscalls.syncfs(fd)
        with open("/proc/self/status") as file:
            bits = next(int(line.split()[1], 16) for line in file if line.startswith("CapEff"))
        return open("/proc/self/comm").read(), syscalls.capget()[0] == bits
    assert world.call(body) == ("a-very-long-nam\n", True)


def test_a_missing_library_and_function():
    with pytest.raises(Unsupported, match=r"libno-such\.so"):
        syscalls.load_library("libno-such.so")
    with pytest.raises(AttributeError):
        syscalls.load_library("libc.so.6").function("no_such_function", "i", "")
