"""What the name server is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podling.model import Network, Subnet
from podling.network import dns

if TYPE_CHECKING:
    from pathlib import Path


def network(*, names: bool = True) -> Network:
    return Network(name="n", id="1", driver="bridge", interface="podman1", dns_enabled=names,
                   subnets=(Subnet(subnet="10.1.0.0/24", gateway="10.1.0.1"), Subnet(subnet="fd00::/64")))


def test_lines_are_as_netavark_writes_them() -> None:
    assert dns.line("a1", ("10.1.0.2", "fd00::2"), ("web", "other"), ("9.9.9.9", "::1")) == "a1 10.1.0.2 fd00::2 web,other 9.9.9.9,::1"
    assert dns.line("a1", ("10.1.0.2",), ("web",), ()) == "a1 10.1.0.2  web"
    assert dns.line("a1", ("fd00::2",), ("web",), ()) == "a1  fd00::2 web"


def test_it_listens_at_the_gateways_of_networks_with_names() -> None:
    assert dns.listening(network()) == ("10.1.0.1",)
    assert dns.listening(network(names=False)) == ()


def test_a_pid_that_another_program_has_got_is_no_server(tmp_path: Path) -> None:
    (tmp_path / dns.PID_FILE).write_text("1", encoding="ascii")
    assert dns.server(str(tmp_path)) is None
    dns.forget_dead(str(tmp_path))
    assert not list(tmp_path.iterdir())
