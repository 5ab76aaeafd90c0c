"""Policy files: YAML documents with the desired policies of a cluster."""

from kqlmi.policyfile.document import Desired, PolicyFile
from kqlmi.policyfile.nodes import PolicyFileError
from kqlmi.policyfile.reader import read
from kqlmi.policyfile.writer import export, update

__all__ = ["Desired", "PolicyFile", "PolicyFileError", "export", "read", "update"]
