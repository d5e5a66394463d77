"""The verbs together, and how every error leaves the program.

Exit status: 0 done, 1 it could not be done, 2 the command cannot be meant, 130 interrupted.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from sightguard import __version__
from sightguard.cli import (
    audit,
    bench,
    calibrate,
    compare,
    demo,
    diagnose,
    doctor,
    export,
    fit,
    generate,
    methods,
    pocket,
    pull,
    serve,
    train,
)
from sightguard.cli.console import print_json, say
from sightguard.errors import SightguardError, UsageError

INTERRUPTED = 130

app = typer.Typer(
    name="sightguard",
    help="Make an open vision-language model as safe as the language model inside it, and prove it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("demo")(demo.demo)
app.command("diagnose")(diagnose.diagnose)
app.command("fit")(fit.fit)
app.command("calibrate")(calibrate.calibrate)
app.command("train")(train.train)
app.command("audit")(audit.audit)
app.command("bench")(bench.bench)
app.command("compare")(compare.compare)
app.command("export")(export.export)
app.command("serve")(serve.serve)
app.command("generate")(generate.generate)
app.command("methods")(methods.methods)
app.command("doctor")(doctor.doctor)
app.command("pull")(pull.pull)
app.add_typer(pocket.app, name="pocket")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sightguard {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options that stand before the verb."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(run(given))


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit status; every error that we raise on purpose becomes one line."""
    as_json = "--json" in arguments
    logging.getLogger("DeepSpeed").addFilter(_beside)
    try:
        status = app(args=audit.with_local_ray(arguments), prog_name="sightguard", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except typer.TyperException as error:
        return _fail("UsageError", _with_advice(error, arguments), error.exit_code, as_json=as_json)
    except SightguardError as error:
        return _fail(type(error).__name__, str(error), 2 if isinstance(error, UsageError) else 1, as_json=as_json)
    if status == INTERRUPTED:
        message = "interrupted. Nothing half-written was left as finished; run the same command again."
        return _fail("Interrupted", message, INTERRUPTED, as_json=as_json)
    return status if isinstance(status, int) else 0


def _beside(record: logging.LogRecord) -> bool:
    """Print on stderr what DeepSpeed, which transformers imports where it finds it, would print among our results."""
    say(record.getMessage())
    return False


def _with_advice(error: typer.TyperException, arguments: Sequence[str]) -> str:
    """Return the message with where to read on: the help of the verb that was given; empty where help was printed."""
    message = error.format_message()
    # an option without its value carries no context: its verb is the first word
    context = getattr(error, "ctx", None)
    verb = context.command_path if context else " ".join(["sightguard", *arguments[:1]])
    return f"{message} `{verb} --help` lists what there is." if message else ""


def _fail(kind: str, message: str, status: int, *, as_json: bool) -> int:
    if not message:
        return status  # the help was printed instead
    if as_json:
        print_json({"error": {"type": kind, "message": message}})
    say(f"error: {message}")
    return status
