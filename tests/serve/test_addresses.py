from __future__ import annotations

import ipaddress
import traceback

import pytest

from sightguard.errors import PictureError, UsageError
from sightguard.serve.addresses import AllowList, parse
from sightguard.serve.reach import is_public

HIDDEN = "s3cret"


@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{HIDDEN}@example.org/a.png",
        f"https://{HIDDEN}@example.org/a.png",
        "https://@example.org/a.png",
        f"ftp://example.org/{HIDDEN}",
        f"file:///{HIDDEN}",
        f"//example.org/{HIDDEN}",
        f"example.org/{HIDDEN}",
        f"https:///{HIDDEN}",
        "https://",
        "",
        f"https://example.org:99999/{HIDDEN}",
        f"https://example.org:x/{HIDDEN}",
        f"https://example.org\\@127.0.0.1/{HIDDEN}",
        f"https://exa mple.org/{HIDDEN}",
        f"https://example.org/{HIDDEN}\r\nHost: other",
        f"\thttps://example.org/{HIDDEN}",
        f"https://exa\nmple.org/{HIDDEN}",
        f"https://ex%61mple.org/{HIDDEN}",
        f"https://ex\u00e4mple.org/{HIDDEN}",
        f"https://example\u3002org/{HIDDEN}",
        f"https://example..org/{HIDDEN}",
        f"https://-example.org/{HIDDEN}",
        f"https://{'a' * 64}.org/{HIDDEN}",
        f"https://{'a.' * 127}org/{HIDDEN}",
        f"https://example.org/{'a' * 9000}{HIDDEN}",
        # other spellings of 127.0.0.1, as resolvers read them
        *(
            f"http://{host}/{HIDDEN}"
            for host in (
                "2130706433",
                "0177.0.0.1",
                "0x7f.0.0.1",
                "0x7f000001",
                "127.1",
                "127.0.1",
                "0",
                "0x",
                "127.0.0.01",
            )
        ),
        f"http://[::1%25lo]/{HIDDEN}",
        f"http://[v1.x]/{HIDDEN}",
        f"http://[example.org]/{HIDDEN}",
        f"http://example.org[::1]/{HIDDEN}",
        f"http://[::1]example.org/{HIDDEN}",
        f"http://example.org:/{HIDDEN}",
        f"http://example.org:0/{HIDDEN}",
        f"http://example.org:80:80/{HIDDEN}",
        f"http://[::1/{HIDDEN}",
    ],
)
def test_an_address_that_could_be_read_in_two_ways_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(PictureError) as caught:
        parse(url)
    assert HIDDEN not in "".join(traceback.format_exception_only(caught.value))


def test_an_address_is_taken_apart() -> None:
    address = parse("https://Images.Example.ORG./a%20b/c.png?x=1&y=%2f#part")
    assert (address.scheme, address.host, address.port) == ("https", "images.example.org", 443)
    assert address.target == "/a%20b/c.png?x=1&y=%2f"
    assert address.authority == "images.example.org"
    assert parse("http://example.org:8080").authority == "example.org:8080"
    assert parse("http://example.org?q").target == "/?q"
    assert parse("http://[2606:4700:0::1]:81/").authority == "[2606:4700::1]:81"


@pytest.mark.parametrize(
    ("listed", "url", "opens"),
    [
        ("example.org", "https://example.org/a", True),
        ("example.org", "http://EXAMPLE.org./a", True),
        ("Example.Org", "https://example.org/a", True),
        ("example.org", "https://example.org:443/a", True),
        ("example.org", "https://example.org:80/a", False),
        ("example.org", "https://example.org:8443/a", False),
        ("example.org", "https://www.example.org/a", False),
        ("example.org", "https://notexample.org/a", False),
        ("example.org", "https://example.org.evil.test/a", False),
        ("*.example.org", "https://a.b.example.org/a", True),
        ("*.example.org", "https://example.org/a", False),
        ("*.example.org", "https://badexample.org/a", False),
        ("*.example.org:8443", "https://a.example.org:8443/a", True),
        ("example.org:8443", "https://example.org:8443/a", True),
        ("example.org:8443", "https://example.org/a", False),
        ("93.184.215.14", "https://93.184.215.14/a", True),
        ("[2606:4700::1]:81", "http://[2606:4700:0::1]:81/a", True),
    ],
)
def test_a_list_opens_its_hosts_at_their_ports_and_no_other(listed: str, url: str, opens: bool) -> None:
    hosts = AllowList.of(["other.test", listed])
    if opens:
        hosts.check(parse(url))
        return
    with pytest.raises(PictureError):
        hosts.check(parse(url))


@pytest.mark.parametrize(
    "entry",
    ["*", "*.", "*.org", "", "https://example.org", "example.org/a", "a@example.org", "*.*.org", "ex*mple.org", "example.org:x",
     "127.1", "*.0.0.1", "example.org?", "a\\b"],
)  # fmt: skip
def test_an_entry_that_is_no_host_is_refused_at_the_start(entry: str) -> None:
    with pytest.raises(UsageError):
        AllowList.of([entry])


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
        "169.254.169.254", "169.254.0.1", "100.64.0.1", "100.100.100.200", "100.127.255.255", "192.0.0.192", "192.0.0.9",
        "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1", "239.1.1.1", "240.0.0.1",
        "255.255.255.255", "168.63.129.16",
        "::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8", "64:ff9b::7f00:1",
        "64:ff9b::808:808", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:20::1", "2001:db8::1",
        "2002:7f00:1::", "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%2", "fec0::1",
        "ff02::1", "ff0e::1",
    ],
)  # fmt: skip
def test_an_address_that_leads_inside_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "100.63.0.1", "100.128.0.1", "172.32.0.1", "168.63.129.17",
                                     "2606:4700::1111", "2001:4860:4860::8888", "2a00:1450::1"])  # fmt: skip
def test_other_addresses_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))
