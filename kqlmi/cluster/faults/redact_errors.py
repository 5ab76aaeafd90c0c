"""What an error over a request may tell: nothing of the credentials, nor of what its text hides."""

from collections.abc import Iterator
from contextlib import contextmanager

from kqlmi.credentials import SignIn
from kqlmi.errors import KqlmiError
from kqlmi.model.kql.hidden_literals import hidden


@contextmanager
def discreet(sign_in: SignIn, text: str = "") -> Iterator[None]:
    """Let errors of kqlmi out without secrets, and without the errors of the libraries, which repeat what was sent."""
    try:
        yield
    except KqlmiError as error:
        error.forget({*sign_in.secrets, *hidden(text)})
        raise
