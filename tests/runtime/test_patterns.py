import pyarrow as pa
import pytest
import xxhash

from treering_runtime.limits import MAX_PATTERN_TEXT_CHARACTERS
from treering_runtime.patterns import MASK, find_patterns, pattern_id


def masked(message):
    return find_patterns(pa.array(["service"]), pa.array([message])).texts.to_pylist()[0]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("connected to 10.0.0.7:8080.", "connected to <*>."),
        ("offset -12 or +12", "offset <*> or <*>"),
        ("took 5 ms", "took <*>"),
        ("sent 17 bytes (1.2 KB) in <1 sec", "sent <*> (<*>) in <*>"),
        ("copied a1, b2, c3 to d4", "copied <*> to <*>"),
        ("started at Fri, 12 May 2023 10:00:01 GMT by cron", "started at <*> by cron"),
        ("opened /var/log/app.log: no such file", "opened <*>: no such file"),
        (r"loaded C:\Program\core.dll and \\share\dir", "loaded <*> and <*>"),
        ("GET https://shop.example/cart?x=y done", "GET <*> done"),
        ("read/write of client/server I/O, N/A and and/or", "read/write of client/server I/O, N/A and and/or"),
        ("mail to ann.lee@example.com bounced", "mail to <*> bounced"),
        ("no route to db.internal from web.prod.example.org", "no route to <*> from <*>"),
        ("raised java.lang.NullPointerException in Cart.add()", "raised java.lang.NullPointerException in Cart.add()"),
        ("commit deadbeefcafe by aa:bb:cc:dd:ee:ff", "commit <*> by <*>"),
        ("uid=0 user=ann tty= rhost=web", "uid=<*> user=<*> tty=<*> rhost=<*>"),
        ("ready=true,policy=low,mode=FAST", "ready=<*>,policy=<*>,mode=<*>"),
        ("if left == right then left != right", "if left == right then left != right"),
        ("cache hit is false", "cache hit is <*>"),
        ("closed () by peer", "closed (<*>) by peer"),
        ("relation \"orders\" does not exist, KeyError: 'id'", "relation \"<*>\" does not exist, KeyError: '<*>'"),
        ('error "connection refused" don\'t retry', 'error "connection refused" don\'t retry'),
        (
            'level=warn msg="payment of ann failed" user="ann lee" status=failed',
            'level=warn msg="payment of ann failed" user=<*> status=failed',
        ),
        (
            '{"level":"info","msg":"cart saved","user":"ann","ok":true,"n":3}',
            '{"level":"info","msg":"cart saved","user":"<*>","ok":<*>,"n":<*>}',
        ),
        ("", ""),
        (" \t\n", ""),
        ("7", MASK),
        ("\0\x1b[31m red", "\0\x1b[<*> red"),
    ],
)
def test_masks(message, expected):
    assert masked(message) == expected


def test_columns_describe_distinct_patterns_in_order_of_appearance():
    found = find_patterns(pa.array(["b", "a", "b", "b"]), pa.array(["x 1", "x 1", "y", "x 2"]))
    assert found.services.to_pylist() == ["b", "a", "b"]
    assert found.texts.to_pylist() == ["x <*>", "x <*>", "y"]
    assert found.first_rows.to_pylist() == [0, 1, 2]
    assert found.pattern_ids.to_pylist() == [pattern_id(*pair) for pair in [("b", "x <*>"), ("a", "x <*>"), ("b", "y"), ("b", "x <*>")]]
    assert found.distinct_ids.to_pylist() == list(dict.fromkeys(found.pattern_ids.to_pylist()))


def test_id_is_the_documented_hash():
    assert pattern_id("s", "m <*>") == xxhash.xxh3_64_intdigest(b"s\0m <*>")


def test_an_empty_batch_has_no_patterns():
    found = find_patterns(pa.array([], pa.string()), pa.array([], pa.string()))
    assert [len(column) for column in (found.pattern_ids, found.distinct_ids, found.services, found.texts, found.first_rows)] == [0] * 5


def test_long_messages_are_one_pattern_whatever_follows_the_limit():
    head = "restored " + "item " * MAX_PATTERN_TEXT_CHARACTERS
    assert masked(head + "alpha") == masked(head + "beta")
    assert len(masked(head)) <= MAX_PATTERN_TEXT_CHARACTERS


def test_a_token_that_the_limit_cuts_is_left_out():
    lists = ["deleting " + " ".join([f"blk-{'x' * width}1"] * 4000) for width in (3, 4, 5)]
    assert {masked(text) for text in lists} == {"deleting <*>"}


def test_one_endless_token_is_kept_up_to_the_limit():
    assert masked("z" * 1_000_000) == "z" * MAX_PATTERN_TEXT_CHARACTERS
