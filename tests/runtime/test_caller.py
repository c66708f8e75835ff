import pytest

from treering_runtime.caller import of_peer


@pytest.mark.parametrize(
    ("peer", "caller"),
    [
        ("ipv4:10.1.2.3:41000", "ipv4:10.1.2.3"),
        ("ipv6:%5B2001:db8::7%5D:41000", "ipv6:[2001:db8::7]"),
        ("ipv4:127.0.0.1:41000", "ipv4:127.0.0.1:41000"),
        ("ipv4:127.9.9.9:41000", "ipv4:127.9.9.9:41000"),
        ("ipv6:%5B::1%5D:41000", "ipv6:%5B::1%5D:41000"),
        ("ipv6:%5B::ffff:127.0.0.1%5D:41000", "ipv6:%5B::ffff:127.0.0.1%5D:41000"),
        ("unix:", "unix:"),
        ("unix:/run/x.sock", "unix:/run/x.sock"),
    ],
)
def test_a_caller_is_an_address_and_on_this_host_a_connection(peer, caller):
    assert of_peer(peer) == caller
