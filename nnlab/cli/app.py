"""The typer application, and how errors reach the user: one red line, no trace-back."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

import typer
from typer.core import TyperGroup

from nnlab.cli.bench import bench
from nnlab.cli.commands import doctor, evaluate, predict, summary, version
from nnlab.cli.lm import lm
from nnlab.cli.train import train
from nnlab.cli.tune import tune
from nnlab.errors import NNLabError


def _describe(error: BaseException) -> str:
    """The line that a user sees."""
    if isinstance(error, MemoryError):
        what = str(error) if isinstance(error, NNLabError) else f"out of memory: {error or 'the system refused'}"
        return f"{what}; a smaller --batch-size or --image-size needs less"
    if isinstance(error, NNLabError):
        return str(error)
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        return f"{error.strerror or error}{where}"
    return f"unexpected {type(error).__name__}: {error} (see it all with --traceback)"


def _print_error(text: str) -> None:
    plain = " ".join(text.split())
    red = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    print(f"\x1b[31merror: {plain}\x1b[0m" if red else f"error: {plain}", file=sys.stderr)


# Not Exception: typer's own usage errors must pass.
_CAUGHT = (
    NNLabError, MemoryError, OSError, ArithmeticError, AssertionError, AttributeError, ImportError, LookupError,
    RuntimeError, TypeError, ValueError,
)  # fmt: skip


class _Group(TyperGroup):
    """Turns what a command raises into a line and an exit code."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        # --traceback may stand anywhere on the line.
        front = ["--traceback"] if "--traceback" in args else []
        return super().make_context(info_name, front + [a for a in args if a != "--traceback"], *rest, **extra)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt as stop:
            if str(stop):
                print(stop, file=sys.stderr)
            raise typer.Exit(getattr(stop, "exit_code", 130)) from None
        except _CAUGHT as error:
            if ctx.params.get("show_traceback") or os.environ.get("NNLAB_TRACEBACK", "0") not in ("", "0"):
                traceback.print_exception(error)
            _print_error(_describe(error))
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=_Group,
    help="Train, evaluate and look at neural networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _common(
    show_traceback: bool = typer.Option(
        False, "--traceback", help="Show the whole trace-back of an error (also: NNLAB_TRACEBACK=1)."
    ),
    show_version: bool = typer.Option(False, "--version", callback=version, is_eager=True, help="Show the version."),
) -> None:
    pass


app.command("train")(train)
app.command("eval")(evaluate)
app.command("predict")(predict)
app.add_typer(lm, name="lm")
app.command("summary")(summary)
app.command("bench")(bench)
app.command("tune")(tune)
app.command("doctor")(doctor)
