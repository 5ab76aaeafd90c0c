"""Ways to sign in."""

from kqlmi.credentials.signin import MODES, SignIn, sign_in
from kqlmi.credentials.way import to_stderr

__all__ = ["MODES", "SignIn", "sign_in", "to_stderr"]
