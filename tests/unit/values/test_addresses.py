"""Internet and hardware addresses."""

from __future__ import annotations

import pytest

from podling.errors import InvalidArgument
from podling.values.addresses import is_ipv6, parse_ip, parse_mac


@pytest.mark.parametrize(("text", "normal"), [
    ("10.88.0.2", "10.88.0.2"), ("::1", "::1"), ("::", "::"), ("FE80::0001", "fe80::1"), ("1:0:0:2:0:0:0:3", "1:0:0:2::3"),
    ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"), ("::ffff:1.2.3.4", "1.2.3.4"), ("64:ff9b::1.2.3.4", "64:ff9b::102:304"),
])
def test_addresses_are_normalised(text, normal):
    assert parse_ip(text) == normal
    assert is_ipv6(normal) == (":" in normal)


@pytest.mark.parametrize("text", [
    "", "1.2.3", "1.2.3.4.5", "01.2.3.4", "256.1.1.1", "1.2.3.-4", ":1", "1:", "1::2::3", "12345::", "::1.2.3", "fe80::1%eth0",
    "1:2:3:4:5:6:7:8::", "1:2:3", ":::", "1.2.3.4:", "::1.2.3.4:5",
])
def test_malformed_addresses_are_refused(text):
    with pytest.raises(InvalidArgument, match="invalid IP address"):
        parse_ip(text)


@pytest.mark.parametrize("text", ["92:d0:C6:0a:29:33", "92-d0-c6-0a-29-33", "92d0.c60a.2933"])
def test_hardware_addresses_are_normalised(text):
    assert parse_mac(text) == "92:d0:c6:0a:29:33"


@pytest.mark.parametrize("text", ["", "x", "92:d0:c6:0a:29", "92:d0-c6:0a:29:33", "92:d0:c6:0a:29:3g", "9:2d:0c:60:a2:93:3"])
def test_malformed_hardware_addresses_are_refused(text):
    with pytest.raises(InvalidArgument, match=r"^address .*: invalid MAC address$"):
        parse_mac(text)
