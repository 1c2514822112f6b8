"""URLs, beside the standard library's."""

from __future__ import annotations

import urllib.parse

import pytest

from podling.values import urls

BASES = ["https://reg.example:5000/v2/some/thing/manifests/1", "http://a/b/c/d?q=1", "http://a", "https://[::1]:5000/v2/?n=1"]
REFERENCES = [
    "", "/v2/x/blobs/uploads/1?_state=a%3D", "http://other/x?y#z", "https://other:443", "//cdn.example/x?sig=a/b", "?last=a&n=2", "x",
    "x/y", "./x", "../x", "../../../x", "../..", "a/./b/../c", "/a/../../b/.", "/..", "g?y/../x", "HTTP://UPPER/", "sha256:abc",
]


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("reference", REFERENCES)
def test_references_lead_where_the_standard_library_says(base: str, reference: str) -> None:
    assert urls.join(base, reference).lower() == urllib.parse.urljoin(base, reference).partition("#")[0].lower()


@pytest.mark.parametrize("text", [
    *BASES, "https://user:p%40ss@Host.Example:8443/path?a=b&c#f", "host:5000/x", "//host:5000", "", "file:///etc/x", "http://[fe80::1%25eth0]/",
    "/only/path?x", "http://h:/x",
])
def test_parts_are_those_of_the_standard_library(text: str) -> None:
    expected, found = urllib.parse.urlsplit(text), urls.split(text)
    assert (found.scheme, found.authority, found.path, found.query) == (expected.scheme, expected.netloc, expected.path, expected.query)
    assert (found.host, found.port) == (expected.hostname or "", expected.port)
    assert found.login == ((urllib.parse.unquote(expected.username), urllib.parse.unquote(expected.password or ""))
                           if expected.username is not None else None)


@pytest.mark.parametrize("port", ["x", "65536", "-1", "1e3", "٣", "0x1", " 1"])
def test_what_is_no_port_is_refused(port: str) -> None:
    with pytest.raises(ValueError, match="invalid port"):
        _ = urls.split(f"http://host:{port}/").port


@pytest.mark.parametrize("text", ["", "plain/text_1.0-~", "a b+c&d=e/f?g#h%", "ümläut/€", "sha256:abc", "\x00\n"])
def test_encoding_goes_both_ways(text: str) -> None:
    assert urls.quoted(text) == urllib.parse.quote(text)
    assert urls.quoted(text, "/:") == urllib.parse.quote(text, safe="/:")
    assert urls.unquoted(urls.quoted(text)) == text
    pairs = [("scope", text), (text or "x", "1")]
    assert urllib.parse.parse_qsl(urls.query(pairs), keep_blank_values=True) == pairs


@pytest.mark.parametrize("text", ["%", "%4", "%zz", "%e2%82%ac", "%ff", "100%25", "a%2", "%+1", "é%41"])
def test_broken_encoding_stays_as_it_is(text: str) -> None:
    assert urls.unquoted(text) == urllib.parse.unquote(text)
