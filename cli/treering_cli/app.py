"""The command line as a whole: its commands, and how errors end it."""

import os
import sys

import typer

from treering_cli import (
    aggregate,
    compare,
    config,
    context,
    export,
    fields,
    follow,
    formats,
    list_logs,
    pattern,
    patterns,
    quarantine,
    reindex,
    search,
    send,
    sql,
    status,
    store,
    tail,
    up,
    values,
    verify,
    wal,
    watch,
)
from treering_cli.option_groups import with_groups
from treering_cli.output import note
from treering_cli.problems import INTERRUPTED, PREFIX, REFUSED, Refusal, explain

app = typer.Typer(
    name="treering",
    help="Logs in over gRPC, counted with SQL, found by meaning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain words: they wrap by themselves, and a script can search them
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("up")(with_groups(up.up))
app.command("send")(with_groups(send.send))
app.command("follow")(with_groups(follow.follow))
app.command("search")(with_groups(search.search))
app.command("sql")(with_groups(sql.sql))
app.command("aggregate")(with_groups(aggregate.aggregate))
app.command("list")(with_groups(list_logs.list_logs))
app.command("fields")(with_groups(fields.fields))
app.command("values")(with_groups(values.values))
app.command("tail")(with_groups(tail.tail))
app.command("patterns")(with_groups(patterns.patterns))
app.command("compare")(with_groups(compare.compare))
app.command("pattern")(with_groups(pattern.pattern))
app.command("watch")(with_groups(watch.watch))
app.command("context")(with_groups(context.context))
app.command("export")(with_groups(export.export))
app.command("status")(with_groups(status.status))
app.command("reindex")(with_groups(reindex.reindex))
app.command("verify")(with_groups(verify.verify))
app.command("config")(with_groups(config.config))
app.command("formats")(with_groups(formats.formats))
app.add_typer(quarantine.quarantine, name="quarantine")
app.add_typer(store.store, name="store")
app.add_typer(wal.wal, name="wal")


def run() -> int:
    """Runs the command line of this process; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        app(standalone_mode=True)
    except SystemExit as end:
        return _flushed(end.code if isinstance(end.code, int) else REFUSED)
    except Refusal as refusal:
        return _refuse(str(refusal))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return _quiet()
    except Exception as error:
        words = _words(error)
        if words is None:
            raise
        return _refuse(words)
    return 0


def _words(error: Exception) -> str | None:
    """What to say about an error of a call; None for one that nobody foresaw."""
    from treering.errors import TreeringError  # noqa: PLC0415 - start-up

    if isinstance(error, UnicodeEncodeError):  # Python's stand-ins for bytes of the command line that are no text
        return f"{error.object[error.start : error.end]!a} is no text in UTF-8; leave it out"
    if isinstance(error, OverflowError) and "_PyTime_t" in str(error):
        return "the clock of this machine shows a time after 2262-04-11, which no record can have; set it right"
    return explain(error) if isinstance(error, TreeringError) else None


def _refuse(words: str) -> int:
    for line in words.splitlines():
        note(PREFIX + line)
    return _flushed(REFUSED)


def _flushed(code: int) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _quiet()
    return code


def _quiet() -> int:
    """Whoever read the output has gone: that is their good right (`| head`)."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return REFUSED
