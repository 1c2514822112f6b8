"""The flags before the command: Podman's global ones."""

from __future__ import annotations

from podling.cli.flags import Flag
from podling.errors import InvalidArgument

LOG_LEVELS = ("trace", "debug", "info", "warn", "warning", "error", "fatal", "panic")
_REMOTE = "podling works without a service, on this machine alone"
CGROUP_MANAGERS = ("cgroupfs", "systemd")


def _cgroup_manager(text: str) -> str:
    if text not in CGROUP_MANAGERS:
        raise InvalidArgument("cgroup manager must be one of cgroupfs and systemd: invalid argument")
    return text


# Accepted before the command only.
OWN_FLAGS = (
    Flag("--config", help="Path to directory containing authentication config file", complete="files"),
    Flag("--connection", "-c", "Connection to use for remote Podman service (CONTAINER_CONNECTION)", refused=_REMOTE),
    Flag("--context", hidden=True, noop=True),
    Flag("--debug", "-D", kind="bool", hidden=True),
    Flag("--host", "-H", refused=_REMOTE),
    Flag("--identity", refused=_REMOTE),
    Flag("--module", kind="array", into="modules", help="Load the containers.conf(5) module"),
    Flag("--noout", kind="bool", hidden=True),
    Flag("--out", help="Send output (stdout) from podling to a file", complete="files"),
    Flag("--remote", "-r", kind="bool", refused=_REMOTE),
    Flag("--ssh", refused=_REMOTE),
    Flag("--url", refused=_REMOTE),
    Flag("--version", "-v", "version for podling", kind="bool"),
)

# Accepted before the command and among its own flags.
INHERITED_FLAGS = (
    Flag("--cdi-spec-dir", kind="array", refused="yet"),
    Flag("--cgroup-manager", help='Cgroup manager to use ("cgroupfs"|"systemd")', choices=CGROUP_MANAGERS, parse=_cgroup_manager),
    Flag("--conmon", help="Path of the conmon binary", complete="files"),
    Flag("--cpu-profile", refused="yet"),
    Flag("--default-mounts-file", refused="yet"),
    Flag("--events-backend", help='Events backend to use ("file"|"journald"|"none")', choices=("file", "journald", "none")),
    Flag("--help", kind="bool", help="Help for podling"),
    Flag("--hooks-dir", kind="array", help="Set the OCI hooks directory path (may be set multiple times)",
         default_text="[/usr/share/containers/oci/hooks.d]", complete="files"),
    Flag("--imagestore", refused="yet"),
    Flag("--log-level", help=f"Log messages above specified level ({', '.join(LOG_LEVELS)})", default_text="warn",
         choices=LOG_LEVELS),
    Flag("--max-workers", kind="int", hidden=True, noop=True),
    Flag("--memory-profile", refused="yet"),
    Flag("--namespace", refused="yet"),
    Flag("--network-backend", hidden=True),
    Flag("--network-cmd-path", refused="yet"),
    Flag("--network-config-dir", help="Path of the configuration directory for networks", complete="files",
         aliases=("--cni-config-dir",)),
    Flag("--pull-option", kind="array", refused="yet"),
    Flag("--registries-conf", refused="yet"),
    Flag("--root", help="Path to the graph root directory where images, containers, etc. are stored", complete="files"),
    Flag("--runroot", help="Path to the 'run directory' where all state information is stored", complete="files"),
    Flag("--runtime", help="Path to the OCI-compatible binary used to run containers.", complete="files"),
    Flag("--runtime-flag", kind="array", into="runtime_flags", help="add global flags for the container runtime"),
    Flag("--storage-driver", help="Select which storage driver is used to manage storage of images and containers"),
    Flag("--storage-opt", kind="array", help="Used to pass an option to the storage driver"),
    Flag("--syslog", kind="bool", help="Output podling-internal logs to syslog as well as the console (default false)"),
    Flag("--tmpdir", help="Path to the tmp directory for podling state content.\n\nNote: use the environment variable 'TMPDIR' "
         "to change the temporary storage location for container images, '/var/tmp'.\n", complete="files"),
    Flag("--trace", kind="bool", hidden=True, noop=True),
    Flag("--transient-store", kind="bool", refused="yet"),
    Flag("--volumepath", into="volume_path", help="Path to the volume directory in which volume data is stored",
         complete="files"),
)
