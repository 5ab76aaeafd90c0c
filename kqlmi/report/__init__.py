"""How a value describes itself for people, once for every face."""

from kqlmi.report.report import Block, Code, Line, Report, Rows, Section

__all__ = ["Block", "Code", "Line", "Report", "Rows", "Section"]
