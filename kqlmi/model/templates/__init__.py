"""The command or program of each flow, with its parameters filled in and its gates as a checklist."""

from kqlmi.model.templates.fields import Field
from kqlmi.model.templates.forms import Form, find_form, form
from kqlmi.model.templates.template import Template, fill
from kqlmi.model.templates.texts import FORMS
from kqlmi.model.templates.values import Place

__all__ = ["FORMS", "Field", "Form", "Place", "Template", "fill", "find_form", "form"]
