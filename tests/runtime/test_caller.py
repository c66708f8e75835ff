import pytest

from treering_runtime.caller import (
    OURSELVES,
    Rights,
    Scope,
    as_ourselves,
    current,
    handed_on,
    of_peer,
    rights,
    scope,
    serve,
    serve_handed_on,
)


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
def test_a_caller_is_an_address_and_on_this_host_a_connection(peer: str, caller: str) -> None:
    assert of_peer(peer) == caller


@pytest.mark.parametrize("name", ["ipv4:10.1.2.3", "ipv6:[2001:db8::7]", "ipv4:127.0.0.1:41000", "unix:", "unix:/run/\u017c ö.sock"])
def test_a_caller_that_is_handed_on_is_the_same_there(name: str) -> None:
    here, there = as_ourselves(), as_ourselves()
    here.run(serve, name)
    metadata = here.run(handed_on)
    assert all(value.isascii() and value.isprintable() for _, value in metadata)
    there.run(serve_handed_on, (("other", "x"), *metadata))
    assert there.run(current) == here.run(current) != OURSELVES


def test_of_our_own_work_no_caller_is_handed_on() -> None:
    ours = as_ourselves()
    assert ours.run(handed_on) == ()
    ours.run(serve_handed_on, (("other", "x"),))
    assert ours.run(current) == OURSELVES


def test_work_for_everybody_is_in_nobodys_name() -> None:
    here = as_ourselves()
    here.run(serve, "ipv4:10.1.2.3:41000")
    assert here.run(as_ourselves).run(current) == OURSELVES
    assert here.run(current) == "ipv4:10.1.2.3"


def test_rights_and_scope_of_everybody_are_unlimited_and_go_with_the_caller() -> None:
    everybody, caller, inner = as_ourselves(), as_ourselves(), as_ourselves()
    caller.run(serve, "ipv4:10.1.2.3:41000")
    inner.run(serve_handed_on, caller.run(handed_on))
    for context in (everybody, caller, inner, caller.run(as_ourselves)):
        assert context.run(rights) == Rights(methods=None)
        assert context.run(scope) == Scope(services=None)
