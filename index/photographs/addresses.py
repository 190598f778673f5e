"""Internet addresses that a photograph may be fetched from: the public ones.

A URL in a catalogue is a stranger's wish, and this machine can reach what the stranger cannot: itself,
its neighbours, a cloud's metadata service. The lists follow IANA's special-purpose registries (RFC 6890 and later).
They are written out, and asked together with `ipaddress`, because that changes its mind between Python versions.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from index.photographs.formats import ImageRefused, Reason

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_PRIVATE: tuple[Network, ...] = tuple(
    map(
        ip_network,
        (
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT
            "127.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "::1/128",
            "fc00::/7",  # unique local
        ),
    )
)
"""A user's own servers live here: open when private addresses are allowed."""

_NEVER: tuple[Network, ...] = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # "this host": Linux connects it to itself
            "168.63.129.16/32",  # a public address that only a cloud's own host answers
            "169.254.0.0/16",  # link-local, cloud metadata
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",  # 6to4 relays
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
            "2001::/23",  # Teredo, ORCHID, benchmarking
            "2001:db8::/32",
            "2002::/16",  # 6to4: carries an IPv4 address past the lists above
            "3fff::/20",
        ),
    )
)
_METADATA: tuple[Network, ...] = tuple(
    map(
        ip_network,
        (
            "100.100.100.200/32",  # Alibaba
            "fd00:c1::/64",  # Oracle
            "fd00:ec2::/64",  # Amazon
            "fd20:ce::/64",  # Google
        ),
    )
)
"""Metadata services of clouds that lie in private networks. They hand out credentials, and stay shut."""
_METADATA_IPV4 = frozenset(
    map(
        IPv4Address,
        (
            "100.100.100.200",
            "168.63.129.16",
            "169.254.169.254",
            "169.254.170.2",
            "169.254.170.23",
            "192.0.0.192",
        ),
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")


def check_address(text: str, *, allow_private: bool = False) -> Address:
    """Read a numeric address and return it if it may be connected to; raise ImageRefused(BLOCKED_ADDRESS) if not.

    Returned is the very address that was judged, so that the caller connects to it and to nothing looked up since.
    """
    try:
        address = ip_address(text)
    except ValueError as error:
        raise ImageRefused(Reason.BLOCKED_ADDRESS, "not a numeric address") from error
    meant = _meant(address)
    private = allow_private and any(meant in network for network in _PRIVATE)
    if not _metadata(meant) and (private or _public(meant)):
        return address
    raise ImageRefused(Reason.BLOCKED_ADDRESS, str(address))


def _meant(address: Address) -> Address:
    """The address that a packet ends at: IPv4 addresses written as IPv6 (mapped, NAT64) are taken out of it.

    NAT64 is unwrapped rather than refused, because on an IPv6-only network every IPv4-only server is seen through it.
    """
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _metadata(address: Address) -> bool:
    """Tell whether a cloud's metadata service answers here.

    A network of one's own may translate to IPv4 under any prefix (RFC 6052), with the IPv4 address at the end.
    """
    if isinstance(address, IPv6Address) and IPv4Address(int(address) & 0xFFFFFFFF) in _METADATA_IPV4:
        return True
    return any(address in network for network in _METADATA)


def _public(address: Address) -> bool:
    if any(address in network for network in (*_PRIVATE, *_NEVER)):
        return False
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global
