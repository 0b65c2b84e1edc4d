"""`edge-delta run`: the main job."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from edge_delta import __version__
from edge_delta.cli.commands.shared import log_of, settings_of
from edge_delta.core.errors import REPORT, EdgeDeltaError, failure, frames
from edge_delta.core.events import Event
from edge_delta.core.reach import not_permitted
from edge_delta.device import signals
from edge_delta.device.addressed import refuse_unreadable
from edge_delta.settings.declaration import masked
from edge_delta.settings.load import file_of
from edge_delta.settings.watch import read_again

if TYPE_CHECKING:
    import argparse
    from threading import Event as Flag

    from edge_delta.cli.parser import Parser
    from edge_delta.core.events import Log
    from edge_delta.settings.sections import Settings

HELP = "deliver new rows, continuously or once (the default command)"
_OBJECTS_PER_COLLECTION = 100_000
"""New containers between collections. A batch makes a few thousand and hardly a cycle among them."""


def arguments(parser: Parser) -> None:
    """Add the command's flags."""
    parser.add_settings()
    parser.add_argument("--once", action="store_true", default=None, help="deliver what is there, then exit")
    parser.add_argument(
        "--flush",
        action="store_true",
        help="with --once: also write open windows, and what settle holds",
    )
    parser.add_argument("--dry-run", action="store_true", help="show the next batch of each mode, and write nothing")
    parser.add_argument(
        "--new-node", action="store_true", help="confirm that this device is new, and create an id for it"
    )


def main(options: argparse.Namespace) -> int:
    """Deliver; exit code 1 if anything that was there stayed undelivered."""
    settings = settings_of(options)
    if options.dry_run:
        from edge_delta.doctor import rehearsal  # noqa: PLC0415 - imports Polars

        refuse_unreadable(settings.state_dir)
        return rehearsal.show(settings, vars(options))
    from edge_delta.topology import build  # noqa: PLC0415 - delta-rs, not before the settings are right

    log = log_of(options)
    log.info(Event.STARTED, version=__version__, settings=masked(settings))
    finished: list[bool] = []

    def work(stop: Flag) -> None:
        gc.set_threshold(_OBJECTS_PER_COLLECTION)
        gc.enable()
        finished.append(build.run(settings, log, stop, flags=vars(options)))

    try:
        signals.run_until_signal(work, _heard(settings, log, options))
    except EdgeDeltaError as error:
        log.error(Event.FAILED, error=str(error), exit_code=error.exit_code)  # noqa: TRY400 - one line, no traceback
        return error.exit_code
    except PermissionError as error:
        log.error(Event.FAILED, error=str(not_permitted(error)), exit_code=2, trace=frames(error))  # noqa: TRY400
        return 2
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - a panic of a library, which is no Exception, or a mistake of ours
        log.error(Event.FAILED, error=f"{failure(error)}. {REPORT}.", exit_code=1, trace=frames(error))  # noqa: TRY400
        return 1
    log.info(Event.STOPPED)
    return 1 if settings.once and finished != [True] else 0


def _heard(settings: Settings, log: Log, options: argparse.Namespace) -> signals.Heard:
    """What signals come to: an ordered stop is one with exit code 0, unless `--once` promised more."""

    def late() -> int:
        log.warning(Event.STOPPED, batch_given_up=True)
        return 1 if settings.once else 0

    def again() -> None:
        file = file_of(vars(options))
        log.info(Event.READ_AGAIN, file=None if file is None else str(file))
        read_again()

    return signals.Heard(lambda name: log.info(Event.STOPPING, signal=name), late, again)
