"""Ids, capabilities and limits."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podling.linux import userns
from podling.linux.userns import IdRange

MAP = "         0       1000          1\n         1     100000      65536\n"


def test_maps_are_read():
    assert userns.parse_map(MAP) == (IdRange(inside=0, outside=1000, size=1), IdRange(inside=1, outside=100000, size=65536))
    assert userns.is_initial(userns.parse_map("         0          0 4294967295\n"))
    assert not userns.is_initial(userns.parse_map(MAP))


@pytest.mark.parametrize(("inside", "outside"), [(0, 1000), (1, 100000), (65536, 165535)])
def test_ids_are_translated(inside, outside):
    ranges = userns.parse_map(MAP)
    assert userns.to_outside(ranges, inside) == outside
    assert userns.to_inside(ranges, outside) == inside


def test_unmapped_ids_have_no_translation():
    ranges = userns.parse_map(MAP)
    assert userns.to_outside(ranges, 65537) is None
    assert userns.to_inside(ranges, 0) is None


def test_subordinate_ids_by_name_and_number():
    text = "# comment\nalice:100000:65536\nbob:165536:65536\n1000:300000:10\nalice:400000:5\nbroken:x:1\nalice:1\n"
    assert userns.parse_subids(text, "alice", 1000) == ((100000, 65536), (300000, 10), (400000, 5))
    assert userns.parse_subids(text, "nobody", 7) == ()


def test_a_missing_file_gives_no_ids(tmp_path):
    assert userns.subids("alice", 1000, f"{tmp_path}/subuid") == ()


def test_capability_names_have_the_kernel_s_numbers():
    with_numbers = {"CAP_CHOWN": 0, "CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21, "CAP_SYS_RESOURCE": 24, "CAP_SETFCAP": 31,
                    "CAP_CHECKPOINT_RESTORE": 40}
    assert {name: userns.CAPABILITIES.index(name) for name in with_numbers} == with_numbers
    assert userns.capability_names(1 | 1 << 21) == ("CAP_CHOWN", "CAP_SYS_ADMIN")


def test_own_capabilities_are_those_in_proc():
    sets = userns.capability_sets()
    assert set(sets) == {"inheritable", "permitted", "effective", "bounding", "ambient"}
    assert userns.has_capability("CAP_CHOWN") == bool(sets["effective"] & 1)


def test_an_unknown_capability_is_an_error():
    with pytest.raises(ValueError, match="not in tuple"):
        userns.has_capability("CAP_NONSENSE")


def test_limits_that_cannot_be_raised_are_clamped():
    hard = {"nofile": 1000, "core": -1}
    wanted = {"nofile": (4096, 8192), "core": (-1, -1), "nproc": (5, 5)}
    assert userns.clamp(wanted, hard, may_raise=False) == {"nofile": (1000, 1000), "core": (-1, -1), "nproc": (5, 5)}
    assert userns.clamp(wanted, hard, may_raise=True) == wanted
    assert userns.clamp({"nofile": (-1, -1)}, hard, may_raise=False) == {"nofile": (1000, 1000)}


LIMIT = st.integers(-1, 10_000)


@given(LIMIT, LIMIT, LIMIT)
def test_clamping_never_exceeds_nor_raises(soft, top, hard):
    got_soft, got_top = userns.clamp({"nofile": (soft, top)}, {"nofile": hard}, may_raise=False)["nofile"]
    for got, asked in ((got_soft, soft), (got_top, top)):
        assert hard == -1 or 0 <= got <= hard
        assert asked == -1 or got <= asked


def test_own_limits():
    soft, hard = userns.limits()["nofile"]
    assert (soft, hard) == tuple(int(x) if x.isdigit() else -1 for x in (
        line.split()[3:5] for line in open(f"/proc/{os.getpid()}/limits") if line.startswith("Max open files")).__next__())
    assert userns.hard_limits()["nofile"] == hard
