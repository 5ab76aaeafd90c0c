"""The verb that runs a local cluster."""

from kqlmi.verbs.registry import Context, verb


@verb(task="Connect", faces=("shell",), apart=True)
def local_serve(_context: Context, /, *, port: int = 0) -> None:
    """Run a local cluster until it is interrupted; notebooks connect to it with %kqlmi connect local.

    --port is the port on 127.0.0.1. Default: a free port.
    """
    import signal

    from kqlmi import local

    # SIGTERM, which service managers send, stops it like Ctrl+C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    local.serve(port=port)
