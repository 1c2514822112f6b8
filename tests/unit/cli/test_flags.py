"""pflag's grammar."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podling.cli.flags import Command, Flag, HelpRequested, check_args, parse, scan
from podling.errors import InvalidArgument, Unsupported

FLAGS = (
    Flag("--all", "-a", kind="bool"),
    Flag("--interactive", "-i", kind="bool"),
    Flag("--tty", "-t", kind="bool"),
    Flag("--env", "-e", kind="array"),
    Flag("--publish", "-p", kind="slice", into="ports", parse=str.upper),
    Flag("--last", "-n", kind="int"),
    Flag("--time", kind="uint", into="timeout"),
    Flag("--cpus", kind="float"),
    Flag("--name"),
    Flag("--network", kind="array", aliases=("--net",)),
    Flag("--sort", kind="choice", choices=("id", "size")),
    Flag("--verbose", "-v", kind="count"),
    Flag("--fds", kind="uints"),
    Flag("--color", no_value="always"),
    Flag("--old", deprecated="use --new"),
    Flag("--pod", refused="pods are missing"),
    Flag("--secret", kind="array", refused="yet"),
    Flag("--remote", kind="bool", refused="yet"),
    Flag("--trust", kind="bool", noop=True),
)


def said(*argv: str, interspersed: bool = True) -> tuple[dict[str, object], list[str]]:
    parsed = scan(FLAGS, argv, path="podling x", interspersed=interspersed)
    return parsed.options, parsed.args


def error(*argv: str) -> str:
    with pytest.raises(InvalidArgument) as raised:
        said(*argv)
    return raised.value.message.removesuffix("\nSee 'podling x --help'")


@pytest.mark.parametrize(("argv", "options", "args"), [
    ([], {}, []),
    (["-a"], {"all": True}, []),
    (["--all=false"], {"all": False}, []),
    (["-a=false", "x"], {"all": False}, ["x"]),
    (["-it", "x"], {"interactive": True, "tty": True}, ["x"]),
    (["-ite", "A=1"], {"interactive": True, "tty": True, "env": ("A=1",)}, []),
    (["-iteA=1"], {"interactive": True, "tty": True, "env": ("A=1",)}, []),
    (["-e=FOO"], {"env": ("FOO",)}, []),
    (["-e", "=x"], {"env": ("=x",)}, []),
    (["-e="], {"env": ("=",)}, []),
    (["--env="], {"env": ("",)}, []),
    (["-e", "A,B", "--env", "C"], {"env": ("A,B", "C")}, []),
    (["-p8080:80"], {"ports": ("8080:80",)}, []),
    (["-p", "a,b", "-p=c"], {"ports": ("A", "B", "C")}, []),
    (["-p", '"a,b",c'], {"ports": ("A,B", "C")}, []),
    (["-p", ""], {"ports": ()}, []),
    (["-n3"], {"last": 3}, []),
    (["-n", "-3"], {"last": -3}, []),
    (["--last=0x10"], {"last": 16}, []),
    (["--last", "010"], {"last": 8}, []),
    (["--last", "1", "--last", "2"], {"last": 2}, []),
    (["--time", "5"], {"timeout": 5}, []),
    (["--cpus", "1.5"], {"cpus": 1.5}, []),
    (["--name", "--all"], {"name": "--all"}, []),
    (["--name=", "-"], {"name": ""}, ["-"]),
    (["--net", "a", "--network=b"], {"network": ("a", "b")}, []),
    (["--sort", "id"], {"sort": "id"}, []),
    (["-vvv", "-v"], {"verbose": 4}, []),
    (["--verbose=7"], {"verbose": 7}, []),
    (["--fds", "1,2", "--fds=3"], {"fds": (1, 2, 3)}, []),
    (["--color", "x"], {"color": "always"}, ["x"]),
    (["--color=never"], {"color": "never"}, []),
    (["x", "-a", "y"], {"all": True}, ["x", "y"]),
    (["--", "-a"], {}, ["-a"]),
    (["x", "--", "-a", "--"], {}, ["x", "-a", "--"]),
    (["", "-a"], {"all": True}, [""]),
    (["--remote=false", "--trust"], {}, []),
])
def test_reads(argv: list[str], options: dict[str, object], args: list[str]) -> None:
    assert said(*argv) == (options, args)


def test_flags_end_at_the_first_argument_where_they_are_not_interspersed() -> None:
    assert said("-a", "image", "-t", "--", "x", interspersed=False) == ({"all": True}, ["image", "-t", "--", "x"])
    assert said("--", "image", "-t", interspersed=False) == ({}, ["image", "-t"])


@pytest.mark.parametrize(("argv", "message"), [
    (["--foo"], "unknown flag: --foo"),
    (["--foo=1"], "unknown flag: --foo"),
    (["-aQ"], "unknown shorthand flag: 'Q' in -Q"),
    (["-Qa"], "unknown shorthand flag: 'Q' in -Qa"),
    (["--name"], "flag needs an argument: --name"),
    (["-an"], "flag needs an argument: 'n' in -n"),
    (["--=x"], "bad flag syntax: --=x"),
    (["---x"], "bad flag syntax: ---x"),
    (["-n", "x"], 'invalid argument "x" for "-n, --last" flag: strconv.ParseInt: parsing "x": invalid syntax'),
    (["-n", "08"], 'invalid argument "08" for "-n, --last" flag: strconv.ParseInt: parsing "08": invalid syntax'),
    (["-n", "9" * 20], (f'invalid argument "{"9" * 20}" for "-n, --last" flag: strconv.ParseInt: parsing "{"9" * 20}": '
                        "value out of range")),
    (["--time", "-1"], 'invalid argument "-1" for "--time" flag: strconv.ParseUint: parsing "-1": invalid syntax'),
    (["--cpus", "x"], 'invalid argument "x" for "--cpus" flag: strconv.ParseFloat: parsing "x": invalid syntax'),
    (["--all="], 'invalid argument "" for "-a, --all" flag: strconv.ParseBool: parsing "": invalid syntax'),
    (["-it=x"], 'invalid argument "x" for "-t, --tty" flag: strconv.ParseBool: parsing "x": invalid syntax'),
    (["--sort", "foo"], 'invalid argument "foo" for "--sort" flag: "foo" is not a valid value.  Choose from: "id, size"'),
    (["-p", 'a"b'], ('invalid argument "a\\"b" for "-p, --publish" flag: parse error on line 1, column 2: '
                     'bare " in non-quoted-field')),
    (["--fds", "1,x"], 'invalid argument "1,x" for "--fds" flag: strconv.ParseUint: parsing "x": invalid syntax'),
    (["--help=x"], 'invalid argument "x" for "--help" flag: strconv.ParseBool: parsing "x": invalid syntax'),
])
def test_errors_have_the_words_of_pflag(argv: list[str], message: str) -> None:
    assert error(*argv) == message


def test_errors_name_the_command_to_ask_for_help() -> None:
    with pytest.raises(InvalidArgument, match=r"^unknown flag: --foo\nSee 'podling x --help'$"):
        said("--foo")


@pytest.mark.parametrize("argv", [["--help"], ["-h"], ["x", "--help"], ["--help", "-a"], ["-ah"], ["--all", "--help=true"]])
def test_help(argv: list[str]) -> None:
    with pytest.raises(HelpRequested):
        said(*argv)


def test_help_waits_for_the_rest_of_the_line_to_be_right() -> None:
    assert error("--help", "--foo") == "unknown flag: --foo"


def test_a_flag_of_its_own_takes_h() -> None:
    parsed = scan((Flag("--hostname", "-h"),), ["-h", "web"], path="podling run")
    assert parsed.options == {"hostname": "web"}


def test_help_comes_before_values_are_read() -> None:
    def refuse(text: str) -> str:
        raise InvalidArgument(text)

    with pytest.raises(HelpRequested):
        scan((Flag("--name", parse=refuse),), ["--name", "x", "--help"], path="podling x")


def test_errors_of_values_are_shown_as_they_are() -> None:
    def refuse(text: str) -> str:
        raise InvalidArgument(f"bad {text}")

    with pytest.raises(InvalidArgument, match=r"^bad x$"):
        scan((Flag("--name", parse=refuse),), ["--name", "x"], path="podling x")


@pytest.mark.parametrize(("argv", "message"), [
    (["--pod", "x"], "--pod is not available in podling yet: pods are missing"),
    (["--secret=x"], "--secret is not available in podling yet"),
    (["--remote"], "--remote is not available in podling yet"),
])
def test_what_is_missing_is_refused_by_name(argv: list[str], message: str) -> None:
    with pytest.raises(Unsupported) as raised:
        said(*argv)
    assert raised.value.message == message


def test_deprecated_flags_work_and_are_noted_once() -> None:
    parsed = scan(FLAGS, ["--old", "1", "--old", "2"], path="podling x")
    assert parsed.options == {"old": "2"}
    assert parsed.notes == ["Flag --old has been deprecated, use --new"]


def test_inherited_flags_are_kept_apart_and_give_way() -> None:
    inherited = (Flag("--root"), Flag("--name", into="other"), Flag("--all", "-z", kind="bool"))
    parsed = scan(FLAGS, ["--root", "/x", "--name", "y", "--all"], path="podling x", inherited=inherited)
    assert parsed.options == {"name": "y", "all": True}
    assert parsed.inherited == {"root": "/x"}


@pytest.mark.parametrize(("limits", "count", "message"), [
    ((0, 0, ""), 1, "`podling ps` takes no arguments"),
    ((1, None, ""), 0, "requires at least 1 arg(s), only received 0"),
    ((2, 2, ""), 1, "accepts 2 arg(s), received 1"),
    ((0, 1, ""), 2, "accepts at most 1 arg(s), received 2"),
    ((1, 2, ""), 3, "accepts between 1 and 2 arg(s), received 3"),
    ((1, None, "image name or ID must be specified"), 0, "image name or ID must be specified"),
])
def test_number_of_arguments(limits: tuple[int, int | None, str], count: int, message: str) -> None:
    command = Command("ps", "", "", "", (), lambda context, options, args: None, args=limits)
    with pytest.raises(InvalidArgument) as raised:
        check_args(command, ["x"] * count, "podling ps")
    assert raised.value.message == message


def test_parse_checks_arguments() -> None:
    command = Command("ps", "", "", "", FLAGS, lambda context, options, args: None, args=(1, 1, ""))
    assert parse(command, ["-a", "x"]) == ({"all": True}, ["x"])
    with pytest.raises(InvalidArgument):
        parse(command, ["-a"])


@given(st.lists(st.one_of(st.sampled_from(["--", "-", "--all", "-it", "--name", "-p", "-n=1", "--env=x"]),
                          st.text(max_size=6))))
def test_any_line_is_read_or_refused(argv: list[str]) -> None:
    try:
        options, args = said(*argv)
    except (InvalidArgument, Unsupported, HelpRequested):
        return
    assert set(args) <= {*argv}
    assert all(isinstance(name, str) for name in options)
