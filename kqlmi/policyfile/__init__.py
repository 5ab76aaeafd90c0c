"""Policy files: policies as YAML documents, read, applied to the policies of a cluster, and written."""

from kqlmi.policyfile.document import Desired, PolicyFile
from kqlmi.policyfile.nodes import PolicyFileError
from kqlmi.policyfile.reader import read
from kqlmi.policyfile.writer import export, update

__all__ = ["Desired", "PolicyFile", "PolicyFileError", "export", "read", "update"]
