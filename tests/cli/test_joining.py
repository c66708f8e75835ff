import pytest

from tests.cli.reading_lines import NOW, messages, reader, records
from treering_formats.joining import limits
from treering_formats.records import RecordReader

HEAD = "2026-11-23 18:00:00,123 ERROR [main] shop.Till - till 3 is stuck"
NEXT = "2026-11-23 18:00:05,000 INFO [main] shop.Till - next customer"

TRACES = {
    "java below its line": """shop.till.StuckException: drawer does not open
\tat shop.till.Drawer.open(Drawer.java:17)
\tSuppressed: java.io.IOException: close failed
\t\tat shop.till.Drawer.close(Drawer.java:29)
Caused by: java.lang.IllegalStateException: locked
\tat shop.till.Lock.turn(Lock.java:5)
\t... 12 common frames omitted
Wrapped by: java.lang.RuntimeException: x""",
    "python, chained": """Traceback (most recent call last):
  File "/srv/till.py", line 3, in open
    lock.turn()
    ~~~~~~~~~^^
till.locks.Locked: 7

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/srv/till.py", line 9, in sell
    open()
RuntimeError: till 3""",
    "python, a group": """  + Exception Group Traceback (most recent call last):
  |   File "/srv/till.py", line 3, in <module>
  | ExceptionGroup: two (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | ValueError: 1
    +------------------------------------""",
    "go": """goroutine 21 [running]:
shop/till.(*Drawer).Open(0xc000012345, {0x1, 0x2})
\t/srv/till/drawer.go:17 +0x1d
created by shop/till.Run in goroutine 1
\t/srv/till/run.go:9 +0x5b

goroutine 1 [select]:
main.main()
\t/srv/main.go:4 +0x2
exit status 2""",
    "rust": """stack backtrace:
   0: rust_begin_unwind
             at /rustc/library/std/src/panicking.rs:645:5
   1: till::open
note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.""",
    "dotnet": """System.InvalidOperationException: stuck
 ---> System.IO.IOException: locked
   at Shop.Lock.Turn() in /srv/Lock.cs:line 5
   --- End of inner exception stack trace ---
   at Shop.Till.Open()
--- End of stack trace from previous location ---
   at Shop.Program.Main()""",
    "node": """Error: connect ETIMEDOUT
    at Lock.turn (/srv/lock.js:5:9)
    at process.processTicksAndRejections (node:internal/process/task_queues:95:5) {
  errno: -110,
  code: 'ETIMEDOUT',
  [cause]: {
    till: 3
  }
}""",
    "ruby": """Till::Locked (till 3 is locked):

app/models/till.rb:17:in `open'
app/controllers/tills_controller.rb:4:in 'sell'""",
    "php": """Stack trace:
#0 /srv/till.php(17): Lock->turn()
#1 {main}
  thrown in /srv/lock.php on line 5""",
    "elixir": """** (RuntimeError) locked
    (till 1.0.0) lib/till.ex:17: Till.open/1""",
    "a private key": """-----BEGIN RSA PRIVATE KEY-----
MIIEowIBAAKCAQEA
x7==
-----END RSA PRIVATE KEY-----""",
}


@pytest.mark.parametrize("trace", TRACES.values(), ids=TRACES)
@pytest.mark.parametrize("count", [1, 2])
def test_a_trace_below_the_line_of_a_logger_is_part_of_it(trace: str, count: int) -> None:
    # also the very first one, when nothing is known yet of how the lines of this stream begin
    text = "\n".join([HEAD, trace] * count + [NEXT]) + "\n"
    found = records(text)
    assert len(found) == count + 1
    assert all(record.message.endswith(trace) and record.severity == 17 for record in found[:-1])
    assert found[-1].severity == 9


CRASHES = {
    "java": 'Exception in thread "main" java.lang.IllegalStateException: stuck\n\tat shop.Till.open(Till.java:17)\n\t... 3 more',
    "python": 'Traceback (most recent call last):\n  File "/srv/till.py", line 3, in <module>\n    open()\ntill.Stuck',
    "go": "panic: stuck [recovered]\n\tpanic: stuck\n\ngoroutine 1 [running]:\nmain.main()\n\t/srv/main.go:4 +0x2\nexit status 2",
    "go, a deadlock": "fatal error: all goroutines are asleep - deadlock!\n\ngoroutine 1 [chan receive]:\nmain.main()\n\t/srv/main.go:4",
    "rust": "thread 'main' panicked at src/main.rs:4:5:\nthe till is stuck\nnote: run with `RUST_BACKTRACE=1`",
    "dotnet": "Unhandled exception. System.Exception: stuck\n ---> System.IO.IOException: locked\n   at Shop.Till.Open()",
    "node": "/srv/till.js:10\n    throw new Error('stuck');\n    ^\n\nError: stuck\n    at open (/srv/till.js:10:7)\n\nNode.js v20.1.0",
    "ruby": "till.rb:3:in `open': stuck (RuntimeError)\n\tfrom till.rb:7:in `<main>'",
    "php": "PHP Fatal error:  Uncaught Exception: stuck in /srv/till.php:3\nStack trace:\n#0 {main}\n  thrown in /srv/till.php on line 3",
    "dart": "Unhandled exception:\nFormatException: stuck\n#0      main (file:///till.dart:1:2)\n#1      _start (dart:isolate)",
    "python, by a signal": 'Fatal Python error: Aborted\n\nCurrent thread 0x00007f (most recent call first):\n  File "till.py", line 3',
}


@pytest.mark.parametrize("crash", CRASHES.values(), ids=CRASHES)
def test_what_a_runtime_prints_when_a_program_ends_is_one_record(crash: str) -> None:
    assert messages(f"till opens\n{crash}\ntill opens\n")[-2] == crash or messages(f"till opens\n{crash}\ntill opens\n")[0].endswith(crash)
    assert messages(f"{crash}\n") == [crash]
    assert messages(f'{{"msg":"till opens"}}\n{crash}\n{{"msg":"till opens"}}\n') == ["till opens", crash, "till opens"]


@pytest.mark.parametrize("name", ["java", "go", "rust", "dotnet", "php"])
def test_a_crash_is_a_record_of_its_own_also_where_records_have_heads(name: str) -> None:
    assert len(records(f"{NEXT}\n{NEXT}\n{CRASHES[name]}\n{NEXT}\n")) == 4


def test_what_log_panic_of_go_said_is_not_said_by_a_second_record() -> None:
    text = "2026/11/23 18:00:00 stuck\npanic: stuck\n\ngoroutine 1 [running]:\nlog.Panic(...)\n\t/usr/log.go:1\n2026/11/23 18:00:01 next\n"
    assert len(records(text)) == 2


def test_statements_of_postgresql_keep_their_lines_and_details() -> None:
    front = "2026-11-23 18:00:00.123 UTC"
    text = (
        f"{front} [77] ERROR:  division by zero\n{front} [77] STATEMENT:  select 1\n\t/ 0\n\t\n\tfrom tills\n"
        f"{front} [78] LOG:  checkpoint\n{front} [79] DETAIL:  of another process\n"
    )
    first, *others = messages(text)
    assert first.endswith("division by zero\n" + f"{front} [77] STATEMENT:  select 1\n\t/ 0\n\n\tfrom tills")
    assert len(others) == 2


def test_two_lines_of_java_util_logging_are_one_record() -> None:
    for first in ("Nov 23, 2026 6:00:00 PM shop.Till open", "23.11.2026 18:00:00 shop.Till open", "2026-11-23 18:00:00.123 shop.Till open"):
        text = f"{first}\nSEVERE: stuck\nshop.Stuck: x\n\tat shop.Till.open(Till.java:17)\n{first}\nFehler: stuck\n"
        assert [message.count("\n") for message in messages(text, "text")] in ([3, 1], [4, 2])
    assert len(records("2026-11-23 18:00:00.123 the till opens\nERROR: stuck\n")) == 2


@pytest.mark.parametrize("head", ["Nov 23 18:00:00 web1 till[7]: ", "11-23 18:00:00.123  7134  7159 E AndroidRuntime: "])
def test_a_trace_with_a_front_on_each_line_is_one_record(head: str) -> None:
    other = head.replace("till[7]", "till[8]").replace("AndroidRuntime", "Till")
    text = "".join(
        f"{head}{line}\n" for line in ["shop.Stuck: x", "\tat shop.Till.open(Till.java:17)", "Caused by: shop.Locked", "\t... 3 more"]
    )
    assert [message.count("\n") for message in messages(f"{text}{head}next\n{other}\tat shop.Till\n")] == [3, 0, 0]


def test_a_traceback_with_a_front_on_each_line_is_one_record() -> None:
    head = "Nov 23 18:00:00 web1 till[7]: "
    lines = ["Traceback (most recent call last):", '  File "till.py", line 1, in x', "    open()", "ValueError: stuck"]
    assert [message.count("\n") for message in messages("".join(f"{head}{line}\n" for line in [*lines, "next"]))] == [3, 0]


def test_entries_of_the_slow_log_of_mysql_are_records() -> None:
    user = "# User@Host: ann[ann] @ till3 [192.0.2.7]  Id:    71\n"
    entry = f"{user}# Query_time: 2.5  Rows_sent: 1\nSET timestamp=1795456800;\nselect 1\n\nfrom tills;"
    text = f"/usr/sbin/mysqld, Version: 8.0\n# Time: 2026-11-23T18:00:00.000001Z\n{entry}\n{entry}\n"
    version, first, second = records(text)
    assert version.message.startswith("/usr/sbin")
    assert first.message == f"# Time: 2026-11-23T18:00:00.000001Z\n{entry}"
    assert second.message == entry
    assert (first.time_unix_nano, second.time_unix_nano) == (1795456800000001000, 1795456800000000000)
    assert {"user": "ann", "host": "till3", "Query_time": "2.5"}.items() <= dict(first.attributes).items()


def test_rows_of_the_csvlog_of_postgresql_go_on_inside_quotes() -> None:
    row = (
        '2026-11-23 18:00:00.123 UTC,"ann","shop",71,"[local]",6.4,1,"SELECT",2026-11-23 17:00:00 UTC,3/7,0,ERROR,42P01,"no ""till""",,,,,,'
    )
    first, second = records(f'{row}"select 1\n2\n\nfrom tills",8\n{row}\n')
    assert (first.message, first.severity, first.attributes["query"]) == ('no "till"', 17, "select 1\n2\n\nfrom tills")
    assert second.message == 'no "till"'


def test_lines_behind_a_row_of_the_csvlog_stay_in_its_message() -> None:
    row = '2026-11-23 18:00:00.123 UTC,"ann","shop",71,"[local]",6.4,1,"SELECT",2026-11-23 17:00:00 UTC,3/7,0,LOG,00000,"up",'
    assert messages(f"{row}\n  and more\n") == ["up\n  and more"]


def test_logs_of_the_garbage_collector_keep_their_blocks() -> None:
    text = (
        "2026-11-23T18:00:00.123+0000: 1.5: [GC pause, 0.001 secs]\nDesired survivor size 5 bytes\n- age   1: 7 bytes\n"
        "2026-11-23T18:00:01.123+0000: 2.5: [GC pause, 0.001 secs]\n   [Parallel Time: 1 ms]\nHeap\n par new   total 7K\n"
    )
    assert [message.count("\n") for message in messages(text)] == [2, 3]


def test_lines_without_a_head_continue_where_most_lines_have_one() -> None:
    text = f"{NEXT}\nof two\nlines\n{NEXT}\n{NEXT}\n\nbelow a blank line\n{NEXT}\n"
    found = messages(text)
    assert [message.count("\n") for message in found] == [2, 0, 2, 0]
    lines = reader(text)
    list(lines)
    assert (lines.joined, lines.blank, lines.lines) == (4, 0, 8)


def test_lines_without_a_head_are_records_where_few_lines_have_one() -> None:
    text = f"{NEXT}\none\ntwo\n\nthree\nfour\nfive\nsix\nseven\n{NEXT}\n"
    assert [number for number, _ in reader(text)] == [1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert messages("starting\n" + HEAD + "\nplain\n") == ["starting", messages(HEAD)[0], "plain"]


def test_a_form_that_nobody_knows_is_learned_from_the_first_lines() -> None:
    text = "".join(f"#{number:04}| till {number}\n" for number in range(6)) + "and its drawer\n#0006| till\n"
    assert messages(text)[-2:] == ["#0005| till 5\nand its drawer", "#0006| till"]
    words = "".join(f"till {number} opens\n" for number in range(9)) + "and its drawer\n"
    assert len(messages(words)) == 10


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-23T18:00:00Z x", "[2026-11-23 18:00] x", "23/11/2026 18:00:00 x", "23.11.2026 18:00:00 x", "Nov 23 18:00:00 web1 till: x",
        "Mon, 23 Nov 2026 18:00:00 GMT x", "[Mon Nov 23 18:00:00.123456 2026] [core:error] x", "18:00:00.123 x",
        "I1123 18:00:00.1 7 a.go:1] x",
        "11-23 18:00:00.123  71  71 I Till: x", "E, [2026-11-23T18:00:00 #7] ERROR -- : x", "<34>1 2026-11-23T18:00:00Z web1 till - - - x",
        "<13>Nov 23 18:00:00 web1 till: x", "1795456800.123 x", "[   12.345678] x", "INFO:till:x", "[WARN] x", "error: x",
        "level=info msg=x",
        "info: Shop.Till[0]", '192.0.2.7 - - [23/Nov/2026:18:00:00 +0000] "GET / HTTP/1.1" 200 7', "71:M 23 Nov 2026 18:00:00.123 * x",
        "261123 18:00:00 x", "20261123T180000 x", "[0.012s][info][gc] x", "CEF:0|a|b|1|2|x|3|",
    ],
)  # fmt: skip
def test_fronts_of_common_loggers_begin_records(line: str) -> None:
    assert [message.endswith("below it") for message in messages(f"{line}\n{line}\nbelow it\n{line}\n")] == [False, True, False]


def test_indented_lines_belong_to_what_they_are_indented_below() -> None:
    assert messages("  one\n  two\n    deeper\n  three\n") == ["  one", "  two\n    deeper", "  three"]
    assert messages("\tat a.B.c(D.java:1)\n\tat a.B.d(D.java:2)\nnext\n") == ["\tat a.B.c(D.java:1)\n\tat a.B.d(D.java:2)", "next"]


def test_json_over_several_lines_is_one_object() -> None:
    text = '{\n  "msg": "one",\n  "list": [\n    1,\n    2.50\n  ],\n  "in": {"a": 1}\n}\n{\n"msg": "two"\n}\nplain\n'
    first, second, third = records(text)
    assert (first.message, second.message, third.message) == ("one", "two", "plain")
    assert first.attributes["in.a"] == "1"


@pytest.mark.parametrize(
    "text",
    [
        '[{"msg":"one"},{"msg":"two"}]\n', '[\n  {\n    "msg": "one"\n  },\n  {\n    "msg": "two"\n  }\n]\n',
        '[\n{"msg":"one"},\n{"msg":"two"}\n]\n',
        '{"msg":"one"}{"msg":"two"}\n', '{"msg":"one"},\n{"msg":"two"}\n', '{"msg":"one"} {"msg":"two"}',
    ],
)  # fmt: skip
def test_arrays_and_objects_behind_each_other_are_records(text: str) -> None:
    assert messages(text) == ["one", "two"]


def test_what_only_begins_like_json_is_text() -> None:
    assert messages("{ till 3\nnext\n[\nlast\n") == ["{ till 3", "next", "[", "last"]
    assert messages("{\n  till: 3\n}\nnext\n") == ["{\n  till: 3\n}", "next"]


def test_an_event_has_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treering_formats.joining.joiner.MAX_EVENT_LINES", 4)
    assert [message.count("\n") for message in messages(HEAD + "\n\tat x" * 9)] == [3, 3, 1]
    monkeypatch.setattr("treering_formats.joining.joiner.MAX_STRAY_LINES", 2)
    assert [message.count("\n") for message in messages(f"{NEXT}\n{NEXT}\n" + "stray\n" * 4 + f"{NEXT}\n" * 3)] == [0, 2, 0, 0, 0, 0, 0]
    assert limits.MAX_EVENT_CHARACTERS * 4 <= 2**20


def test_an_event_of_many_long_lines_stays_below_the_largest_record() -> None:
    found = messages(HEAD + ("\n\t" + "x" * 1000) * 1000)
    assert max(map(len, found)) <= limits.MAX_EVENT_CHARACTERS
    assert sum(message.count("x") for message in found) >= 1_000_000


def test_open_json_that_never_ends_is_lines_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treering_formats.joining.joiner.MAX_EVENT_CHARACTERS", 50)
    text = "[\n" + "".join(f'{{"msg": "till {number}"}},\n' for number in range(9))
    assert messages(text) == ["[", *(f"till {number}" for number in range(9))]


class Arriving:
    """A stream that has its lines one after the other; None where nothing is there yet."""

    def __init__(self, *lines: bytes | None) -> None:
        self._lines = list(lines)

    def readline(self, size: int) -> bytes | None:
        return self._lines.pop(0) if self._lines else b""


def test_what_is_held_can_be_taken_when_nothing_comes() -> None:
    stream = Arriving(HEAD.encode() + b"\n", b"\tat x\n", None, b"\tat late\n", None)
    lines = RecordReader(stream, service="", environment="", fmt="auto", now=NOW)
    records = iter(lines)
    assert next(records)[0] == 0
    assert lines.held_from == 1
    assert [record.message.count("\n") for _, record in lines.flush()] == [1]
    assert (lines.held_from, lines.flush()) == (0, [])
    assert next(records)[0] == 0
    assert [(number, record.message) for number, record in lines.flush()] == [(3, "\tat late")]
