import hashlib
from typing import Any

import pyarrow as pa
import pytest

from treering_runtime.limits import MAX_PATTERN_TEXT_CHARACTERS
from treering_runtime.patterns import MASK, find_patterns, pattern_id


def masked(message: str) -> Any:
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
        ("\0\x1b[31mred\x1b[0m \x1b[K\x1b[1;2", "\0red \x1b[<*>"),
        ("user=ann day=7 h=2 took=5 s", "user=<*> day=<*> h=<*> took=<*>"),
        ("op=start by=ann error_msg=lost newState=UP country_code=DE", "op=start by=<*> error_msg=lost newState=UP country_code=<*>"),
        ("user_id:42 took:13ms, retry:count:5", "user_id:<*> took:<*>, retry:count:<*>"),
        ("from fa:16:3e:aa:bb:cc via dead:beef::1 or ::ffff:10.0.0.1", "from <*> via <*> or ::<*>"),
        ("open http://web1/x by main.c:12 on web-prod:80 or localhost:80", "open <*> by <*> on <*> or <*>"),
        ("expanded:true, left:None, Option::None", "expanded:<*>, left:<*>, Option::None"),
        ("用户123登录失败\uff0c原因\uff1a密码3-错误", "用户<*>登录失败\uff0c原因\uff1a密码<*>错误"),
        ("사용자123을 찾을 수 없습니다", "사용자<*>을 찾을 수 없습니다"),
        ("无法连接db.internal\uff0c文件/var/log/app不存在", "无法连接<*>\uff0c文件<*>不存在"),
        ("{'user': 'ann lee', 'state': 'gone away', 'ok': No}", "{'user': '<*>', 'state': 'gone away', 'ok': <*>}"),
        ("cannot open, 'x': No such file, {'y': No}", "cannot open, 'x': No such file, {'y': <*>}"),
        ("to=<ann@example.com> by <a1@b> of free=<kilobytes:5>", "to=<*> by <*> of free=<kilobytes:<*>>"),
        ("ws=Source{10113} or id=5(7), f(7)", "ws=<*> or id=<*>, f(<*>)"),
        ("key dGVzdD8= or dGVzdD8==", "key <*> or <*>"),
        ("took 3 army trucks at 5 a.m. or 6 p.m. and 7 pump failures", "took <*> army trucks at <*> or <*> and <*> pump failures"),
        ("due (Jan 5), [Feb, 6] or 7 March.", "due (<*>), [<*>] or <*>."),
        ("by user7=ann. of a1/b: c", "by <*>. of <*>: c"),
        ("mylocalhost:80 of 用localhost:80", "mylocalhost:<*> of 用<*>"),
        ("状态true 提交deadbeefcafe", "状态<*> 提交<*>"),
        ('{"user":"a\\\nb","path":"c\\', '{"user":"<*>","path":"<*>"'),
    ],
)
def test_masks(message: str, expected: str) -> None:
    assert masked(message) == expected


def test_columns_describe_distinct_patterns_in_order_of_appearance() -> None:
    found = find_patterns(pa.array(["b", "a", "b", "b"]), pa.array(["x 1", "x 1", "y", "x 2"]))
    assert found.services.to_pylist() == ["b", "a", "b"]
    assert found.texts.to_pylist() == ["x <*>", "x <*>", "y"]
    assert found.first_rows.to_pylist() == [0, 1, 2]
    assert found.pattern_ids.to_pylist() == [pattern_id(*pair) for pair in [("b", "x <*>"), ("a", "x <*>"), ("b", "y"), ("b", "x <*>")]]
    assert found.distinct_ids.to_pylist() == list(dict.fromkeys(found.pattern_ids.to_pylist()))


def test_id_is_the_documented_hash() -> None:
    kind = (7).to_bytes(8, "little") + "söme".encode() + b"\0m" + b"m <*>"
    assert pattern_id("söme\0m", "m <*>") == int.from_bytes(hashlib.blake2b(kind, digest_size=16).digest()[:8], "little")


def test_an_empty_batch_has_no_patterns() -> None:
    found = find_patterns(pa.array([], pa.string()), pa.array([], pa.string()))
    assert [len(column) for column in (found.pattern_ids, found.distinct_ids, found.services, found.texts, found.first_rows)] == [0] * 5


def test_long_messages_are_one_pattern_whatever_follows_the_limit() -> None:
    head = "restored " + "item " * MAX_PATTERN_TEXT_CHARACTERS
    assert masked(head + "alpha") == masked(head + "beta")
    assert len(masked(head)) <= MAX_PATTERN_TEXT_CHARACTERS


def test_a_token_that_the_limit_cuts_is_left_out() -> None:
    lists = ["deleting " + " ".join([f"blk-{'x' * width}1"] * 4000) for width in (3, 4, 5)]
    assert {masked(text) for text in lists} == {"deleting <*>"}


def test_one_endless_token_is_kept_up_to_the_limit() -> None:
    assert masked("z" * 1_000_000) == "z" * MAX_PATTERN_TEXT_CHARACTERS


def test_a_zero_byte_makes_no_two_patterns_one() -> None:
    pairs = [("a\0b", "c"), ("a", "b\0c"), ("", "a\0b\0c"), ("a\0b\0c", ""), ("a\0", "b\0c")]
    assert len({pattern_id(*pair) for pair in pairs}) == len(pairs)


def test_ids_come_from_who_knows_the_holders() -> None:
    found = find_patterns(pa.array(["a", "b", "a", "c"]), pa.array(["one", "three", "two", "four"]), lambda service, text: len(text))
    assert found.pattern_ids.to_pylist() == [3, 5, 3, 4]
    described = [column.to_pylist() for column in (found.distinct_ids, found.services, found.texts, found.first_rows)]
    assert described == [[3, 5, 3, 4], ["a", "b", "a", "c"], ["one", "three", "two", "four"], [0, 1, 2, 3]]
