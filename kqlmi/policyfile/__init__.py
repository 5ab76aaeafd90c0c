"""A policy as a YAML document: what it holds, what it wants of a cluster, and how it is written."""

from kqlmi.policyfile.document import Desired, PolicyFile
from kqlmi.policyfile.nodes import PolicyFileError
from kqlmi.policyfile.reader import read
from kqlmi.policyfile.writer import export, update

__all__ = ["Desired", "PolicyFile", "PolicyFileError", "export", "read", "update"]
