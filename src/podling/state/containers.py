"""Containers in the database, and what each of them is really doing.

What a container is doing now is computed: a stored "running" counts only under the boot it was written in and while the
very process (pid and start time) lives; how it ended stands in conmon's exit file.
"""

from __future__ import annotations

import os
import time

from podling import exitfile, jsontext
from podling.database import IntegrityError
from podling.errors import AlreadyExists, InUse, NoSuchContainer, PodlingError
from podling.linux import pids
from podling.model import Container, ContainerConfig, ContainerState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from podling.database import Database

LIVE = ("running", "paused", "stopping")
LOST_EXIT_CODE = 255                         # the host or the monitor died with the container
EXIT_FILE_SECONDS = 10.0                     # how long conmon may take to write the exit file of a process that is gone
REMEMBERED = 300 * 10**9                     # nanoseconds for which the exit code of a removed container can be asked


class Containers:
    """The containers of one database."""

    def __init__(self, database: Database, exits: str) -> None:
        """``exits``: the directory where conmon writes one exit file a container."""
        self.database = database
        self.exits = exits

    # --- reading ------------------------------------------------------------------------------------------------------

    def all(self) -> list[Container]:
        """All containers, oldest first."""
        return [_container(text) for (text,) in self.database.rows("SELECT summary FROM containers ORDER BY created, id")]

    def list_with_states(self) -> list[tuple[Container, ContainerState]]:
        """All containers with what they are doing, oldest first."""
        rows = self.database.rows("SELECT summary, state FROM containers JOIN container_states USING (id) ORDER BY created, id")
        return [(_container(summary), self.observe(_state(state))) for summary, state in rows]

    def find(self, name_or_id: str) -> Container:
        """The container of this name, id or unambiguous beginning of an id; NoSuchContainer where there is none."""
        row = self.database.row("SELECT summary FROM containers WHERE id = ?1 OR name = ?1", name_or_id)
        if row is not None:
            return _container(row[0])
        found = self._with_prefix(name_or_id)
        if len(found) > 1:
            raise PodlingError(f'more than one result for container ID "{name_or_id}": container ID is ambiguous')
        if not found:
            raise NoSuchContainer(f'no container with name or ID "{name_or_id}" found: no such container')
        return _container(found[0][0])

    def _with_prefix(self, prefix: str) -> list[tuple[str]]:
        if not prefix or prefix.strip("0123456789abcdef"):
            return []
        return self.database.rows("SELECT summary FROM containers WHERE id >= ? AND id < ? LIMIT 2", prefix, prefix + "g")

    def latest(self) -> Container:
        """The container made last."""
        row = self.database.row("SELECT summary FROM containers ORDER BY created DESC LIMIT 1")
        if row is None:
            raise NoSuchContainer("no containers exist: no such container", hint="make one with 'podling create'")
        return _container(row[0])

    def get(self, container_id: str) -> Container:
        """The container of exactly this id."""
        row = self.database.row("SELECT summary FROM containers WHERE id = ?", container_id)
        if row is None:
            raise NoSuchContainer(f'no container with ID "{container_id}" found in database: no such container')
        return _container(row[0])

    def config(self, container_id: str) -> ContainerConfig:
        """What was decided when the container was made."""
        row = self.database.row("SELECT config FROM containers WHERE id = ?", container_id)
        if row is None:
            raise NoSuchContainer(f'no container with ID "{container_id}" found in database: no such container')
        return ContainerConfig.from_json(jsontext.loads(row[0]))

    def stored_state(self, container_id: str) -> ContainerState:
        """The state last written, believed or not; :meth:`state` is the one to ask."""
        row = self.database.row("SELECT state FROM container_states WHERE id = ?", container_id)
        if row is None:
            raise NoSuchContainer(f'no container with ID "{container_id}" found in database: no such container')
        return _state(row[0])

    def state(self, container_id: str) -> ContainerState:
        """What the container is doing now."""
        return self.observe(self.stored_state(container_id))

    def observe(self, stored: ContainerState) -> ContainerState:
        """The stored state corrected by the facts; nothing is written."""
        if stored.status not in LIVE:
            return stored
        if stored.boot_id != pids.boot_id():
            return stored.replace(status="exited", pid=0, conmon_pid=0, exit_code=LOST_EXIT_CODE,
                                  error="the host was restarted while the container was running")
        if stored.pid and pids.is_alive(stored.pid, stored.pid_start):
            return stored
        ended = exitfile.read(os.path.join(self.exits, stored.id))
        if ended is None:
            if self._is_watched(stored):       # its conmon is about to write how it ended
                return stored
            return stored.replace(status="exited", pid=0, conmon_pid=0, exit_code=LOST_EXIT_CODE)
        code, finished = ended
        return stored.replace(status="exited", pid=0, conmon_pid=0, exit_code=code, finished=finished)

    def settled(self, stored: ContainerState) -> ContainerState:
        """As :meth:`observe`; where the process is gone, its conmon's word about the end is waited for (some milliseconds)."""
        deadline = time.monotonic() + EXIT_FILE_SECONDS
        while True:
            state = self.observe(stored)
            if state.status not in LIVE or pids.is_alive(stored.pid, stored.pid_start) or time.monotonic() > deadline:
                return state
            time.sleep(0.0005)

    @staticmethod
    def _is_watched(stored: ContainerState) -> bool:
        """Whether the container's conmon lives."""
        try:
            with open(f"/proc/{stored.conmon_pid}/cmdline", "rb") as file:
                return stored.id.encode() in file.read(1 << 12)
        except (FileNotFoundError, ProcessLookupError):
            return False

    def dependents(self, container_id: str) -> list[str]:
        """Ids of the containers that need this one."""
        return [row[0] for row in self.database.rows("SELECT container_id FROM container_dependencies WHERE needs = ?", container_id)]

    def needs(self, container_id: str) -> list[str]:
        """Ids of the containers that this one needs."""
        return [row[0] for row in self.database.rows("SELECT needs FROM container_dependencies WHERE container_id = ?", container_id)]

    def using_volume(self, volume: str) -> list[str]:
        """Ids of the containers that use a volume."""
        return [row[0] for row in self.database.rows("SELECT container_id FROM container_volumes WHERE volume = ?", volume)]

    # --- writing ------------------------------------------------------------------------------------------------------

    def add(self, container: Container, config: ContainerConfig, *, needs: Iterable[str] = (), volumes: Iterable[str] = (),
            images: Iterable[str] = ()) -> None:
        """Add a container with what it depends on; AlreadyExists when the name is taken."""
        run = self.database.run
        with self.database.transaction():
            taken = self.database.row("SELECT id FROM containers WHERE name = ?", container.name)
            if taken is not None:
                raise name_in_use(container.name, taken[0])
            local_image = config.image_id if config.image_id and not config.image_store else None
            run("INSERT INTO containers (id, name, created, local_image, summary, config) VALUES (?, ?, ?, ?, ?, ?)", container.id,
                container.name, container.created, local_image, jsontext.dumps(container), jsontext.dumps(config))
            run("INSERT INTO container_states (id, state) VALUES (?, ?)", container.id,
                jsontext.dumps(ContainerState(id=container.id)))
            for other in needs:
                run("INSERT OR IGNORE INTO container_dependencies (container_id, needs) VALUES (?, ?)", container.id, other)
            for volume in volumes:
                run("INSERT OR IGNORE INTO container_volumes (container_id, volume) VALUES (?, ?)", container.id, volume)
            for image in images:
                run("INSERT OR IGNORE INTO container_images (container_id, image_id) VALUES (?, ?)", container.id, image)
            self._promise(config)

    def save_state(self, state: ContainerState) -> None:
        """Write what a container is doing."""
        if not self.database.run("UPDATE container_states SET state = ? WHERE id = ?", jsontext.dumps(state), state.id):
            raise NoSuchContainer(f'no container with ID "{state.id}" found in database: no such container')

    def rename(self, container: Container, config: ContainerConfig, name: str) -> Container:
        """Give a container another name."""
        renamed = container.replace(name=name)
        try:
            self.database.run("UPDATE containers SET name = ?, summary = ?, config = ? WHERE id = ?", name,
                              jsontext.dumps(renamed), jsontext.dumps(config.replace(name=name)), container.id)
        except IntegrityError:
            taken = self.database.row("SELECT id FROM containers WHERE name = ?", name)
            raise name_in_use(name, taken[0] if taken else "?") from None
        return renamed

    def save_config(self, container: Container, config: ContainerConfig) -> None:
        """Replace what was decided (for ``update`` alone)."""
        with self.database.transaction():
            self.database.run("UPDATE containers SET summary = ?, config = ? WHERE id = ?", jsontext.dumps(container),
                              jsontext.dumps(config), container.id)
            self.database.run("DELETE FROM static_addresses WHERE container_id = ?", container.id)
            self._promise(config)

    def _promise(self, config: ContainerConfig) -> None:
        """No other container gets the static addresses of this one, unless it asks for them."""
        for attachment in config.networks:
            for address in attachment.static_ips:
                self.database.run("INSERT OR IGNORE INTO static_addresses (network, address, container_id) VALUES (?, ?, ?)",
                                  attachment.network, address, config.id)

    def remove(self, container_id: str) -> None:
        """Delete a container's rows; InUse while another needs it. Its exit code can be asked for some minutes longer."""
        now = time.time_ns()
        try:
            with self.database.durable():      # a power cut must not bring back a row whose directory is deleted next
                state = self.stored_state(container_id)
                self.database.run("DELETE FROM exit_codes WHERE removed < ?", now - REMEMBERED)
                self.database.run("INSERT OR REPLACE INTO exit_codes (id, code, removed) VALUES (?, ?, ?)", container_id,
                                  state.exit_code, now)
                self.database.run("DELETE FROM containers WHERE id = ?", container_id)
        except IntegrityError:
            others = ", ".join(self.dependents(container_id))
            raise InUse(f"container {container_id} has dependent containers which must be removed before it: {others}: "
                        "container already exists", hint="remove them first, or use 'podling rm --depend'") from None

    def last_exit_code(self, container_id: str) -> int | None:
        """How a container ended that was removed a short while ago, None where nobody knows."""
        row = self.database.row("SELECT code FROM exit_codes WHERE id = ?", container_id)
        return None if row is None else int(row[0])


def name_in_use(name: str, owner: str) -> AlreadyExists:
    """Podman's words for a name that is taken."""
    return AlreadyExists(f'creating container storage: the container name "{name}" is already in use by {owner}. You have to '
                         "remove that container to be able to reuse that name: that name is already in use",
                         hint=f"choose another name, or remove it with 'podling rm {name}', or use --replace")


def _container(text: str) -> Container:
    return Container.from_json(jsontext.loads(text))


def _state(text: str) -> ContainerState:
    return ContainerState.from_json(jsontext.loads(text))
