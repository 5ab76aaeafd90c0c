"""Ways to sign in."""

from kqlmi.credentials.signin import MODES, SignIn, sign_in

__all__ = ["MODES", "SignIn", "sign_in"]
