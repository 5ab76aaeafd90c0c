"""The faces in a notebook: magics, completion, display, panel."""
