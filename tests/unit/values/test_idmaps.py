"""Id maps as Podman 5 decides them."""

from __future__ import annotations

import pytest

from podling.errors import InvalidArgument, PodlingError
from podling.values import idmaps

PARENT = ((0, 1000, 1), (1, 100000, 65536))


@pytest.mark.parametrize(("number", "expected"), [
    (1000, ("0:1:1000", "1000:0:1", "1001:1001:64536")),
    (9, ("0:1:9", "9:0:1", "10:10:65527")),
    (0, ("0:0:1", "1:1:65536")),
])
def test_keep_id_puts_the_user_at_a_number(number: int, expected: tuple[str, ...]) -> None:
    assert idmaps.texts(idmaps.keep(number, 65536)) == expected


def test_nomap_leaves_the_user_out() -> None:
    assert idmaps.texts(idmaps.nomap(65536)) == ("0:1:65536",)
    with pytest.raises(InvalidArgument, match="subordinate ids"):
        idmaps.nomap(0)


def test_one_flag_counts_for_both_but_for_marked_values() -> None:
    uids, gids = idmaps.explicit(("0:1:10", "u10:20:5"), (), (PARENT, PARENT), fill=True)
    assert idmaps.texts(uids) == ("0:1:10", "10:20:5")
    assert idmaps.texts(gids) == ("0:1:10",)


def test_ids_of_the_host_are_looked_up() -> None:
    uids, _ = idmaps.explicit(("0:@100000:5", "7:@1000"), (), (PARENT, PARENT), fill=True)
    assert idmaps.texts(uids) == ("0:1:5", "7:0:1")
    with pytest.raises(InvalidArgument, match="999999 of the host is not mapped"):
        idmaps.explicit(("0:@999999",), (), (PARENT, PARENT), fill=True)


def test_extending_values_take_their_ids_from_others() -> None:
    uids, _ = idmaps.explicit(("0:0:65000", "+100000:1:1"), (), (PARENT, PARENT), fill=False)
    assert idmaps.texts(uids) == ("0:0:1", "2:2:64998", "100000:1:1")
    filled, _ = idmaps.explicit(("+100000:1:1",), (), (PARENT, PARENT), fill=True)
    assert idmaps.texts(filled) == ("0:0:1", "1:2:65535", "100000:1:1")


@pytest.mark.parametrize("value", ["0", "0:1:a", "x:1:2", "0:1:2:3", "0:1:0"])
def test_malformed_values_are_refused(value: str) -> None:
    with pytest.raises(InvalidArgument, match="initializing ID mappings: UID setting is malformed"):
        idmaps.explicit((value,), (), (PARENT, PARENT), fill=False)


def test_an_id_is_mapped_once() -> None:
    with pytest.raises(InvalidArgument, match="UID 5 of the container is mapped twice"):
        idmaps.explicit(("0:0:10", "5:20:10"), (), (PARENT, PARENT), fill=False)


def test_auto_gives_what_is_free() -> None:
    assert idmaps.needed((0, 2000, 65534), 1024, 65536) == 2001
    assert idmaps.needed((0,), 1024, 65536) == 1024
    assert idmaps.needed((0, 70000), 1024, 65536) == 65536
    assert idmaps.texts(idmaps.auto([(500000, 4000)], [(500000, 1024)], 1024)) == ("0:501024:1024",)
    assert idmaps.texts(idmaps.auto([(1, 9000)], [], 3000, ((5, 1, 1),))) == ("0:2:5", "5:1:1", "6:7:2994")
    with pytest.raises(PodlingError, match="not enough unused IDs in user namespace"):
        idmaps.auto([(1, 100)], [(1, 50)], 1024)


def test_ids_are_mapped_both_ways() -> None:
    found = idmaps.keep(1000, 65536)
    assert idmaps.to_outside(found, 1000) == 0
    assert idmaps.to_inside(found, 1) == 0
    assert idmaps.to_outside(found, 70000) is None
