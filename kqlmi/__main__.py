"""The command line."""

import argparse
import sys
from collections.abc import Sequence

from kqlmi import __version__
from kqlmi.errors import KqlmiError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status."""
    parser = argparse.ArgumentParser(prog="kqlmi", description="Managed identity policies of Azure Data Explorer.")
    parser.add_argument("--version", action="version", version=f"kqlmi {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    local = commands.add_parser("local", help="the embedded local cluster")
    serve = local.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "serve", help="run a local cluster that notebooks join by %%kqlmi connect local"
    )
    serve.add_argument("--port", type=int, default=0, help="a port of 127.0.0.1 (default: any free one)")
    serve.set_defaults(run=_serve)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except KqlmiError as error:
        print(f"kqlmi: {error}", file=sys.stderr)
        return 1
    return 0


def _serve(options: argparse.Namespace) -> None:
    import signal

    from kqlmi import local

    # A service manager stops it as Ctrl+C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    local.serve(port=options.port)


if __name__ == "__main__":
    sys.exit(main())
