"""The verb that runs a local cluster."""

from kqlmi.verbs.registry import Context, verb


@verb(faces=("shell",), apart=True)
def local_serve(_context: Context, /, *, port: int = 0) -> None:
    """Run a local cluster that notebooks join by %kqlmi connect local, until it is interrupted.

    --port is one of 127.0.0.1; by default any that is free.
    """
    import signal

    from kqlmi import local

    # A service manager stops it as Ctrl+C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    local.serve(port=port)
