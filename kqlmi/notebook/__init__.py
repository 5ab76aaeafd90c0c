"""The notebook interface: magics, completion, display and panel."""
