"""The command line. Importing it, and asking for help, loads neither torch nor Flower nor Ray."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click
import typer
import typer.core

from metapulse.errors import MetapulseError
from metapulse.rows import printable
from metapulse.sim.cli import data as data_commands
from metapulse.sim.cli import describe, person, privacy, runs
from metapulse.sim.cli import record as record_commands
from metapulse.sim.cli.audit import audit_command
from metapulse.sim.cli.compare import compare_command
from metapulse.sim.cli.conformance import conformance
from metapulse.sim.cli.stream import stream_command
from metapulse.sim.crash import failed, one_line
from metapulse.sim.process import set_process_defaults
from metapulse.sim.stopping import exit_code, stoppable

__all__ = ["app", "main"]

USER_ERROR, CRASH = 2, 1


class _Commands(typer.core.TyperGroup):
    def invoke(self, ctx: click.Context) -> object:
        """Typer would leave with code 130 and without a word, whatever the signal was."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise click.Abort from error


app = typer.Typer(
    name="metapulse",
    cls=_Commands,
    help="Federated meta-learning for wearables: one person, one device, a handful of samples.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
runs.add_run_commands(app)
app.command("compare")(compare_command)
describe.add_describe_commands(app)
privacy.add_privacy_command(app)
app.command("audit")(audit_command)
app.command()(conformance)
person.add_person_commands(app)
app.command("stream")(stream_command)
app.add_typer(data_commands.app, name="data")
app.add_typer(record_commands.app, name="record")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0, 1 for an unexpected error, 2 for one that names its cause, 128 + a signal.

    Args:
        argv: arguments without the program's name; None: this process's.
    """
    set_process_defaults()
    sys.path.append(str(Path.cwd()))  # files of one's own, after everything that is installed
    _open_streams()
    for stream in (sys.stdout, sys.stderr):  # text is UTF-8, whatever the locale
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    with stoppable():
        code = _command(argv)
    try:
        sys.stdout.flush()
    except OSError as error:
        code = code or _unwritten(error)
    return code


def _command(argv: Sequence[str] | None) -> int:
    try:
        return int(app(args=None if argv is None else list(argv), prog_name="metapulse", standalone_mode=False) or 0)
    except click.exceptions.NoArgsIsHelpError as help_asked:
        help_asked.show()
        return USER_ERROR
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "metapulse"
        return _say(f"{error.format_message()} (see: {command} --help)", USER_ERROR)
    except click.exceptions.Exit as asked:
        return asked.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        return _say("interrupted", exit_code(error))
    except SystemExit as left:
        if isinstance(left.__context__, BrokenPipeError):  # how typer and rich leave (``metapulse methods | head``)
            return 0
        return _say(f"ended before it was done, by code that called exit({left.code!r})", CRASH)
    except (MetapulseError, OSError) as error:
        return _say(one_line(error), USER_ERROR)
    except Exception as error:
        return _say(failed(error), CRASH)


def _unwritten(error: OSError) -> int:
    """Output that cannot be written; a reader that went away is no error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more at its end
    return 0 if isinstance(error, BrokenPipeError) else _say(f"output: {error.strerror or error}", USER_ERROR)


def _open_streams() -> None:
    """Python's streams are there, also where the caller has closed them (``>&-``): what is written there is discarded.

    Otherwise the next file that is opened would take the descriptor, and be written into.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115


def _say(message: str, code: int) -> int:
    with suppress(OSError):  # there is no other place to say it
        print("metapulse: " + printable(" ".join(message.split())), file=sys.stderr)
    return code
