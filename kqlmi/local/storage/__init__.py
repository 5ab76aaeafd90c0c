"""Storage containers and their files; every container is opened through the module ``storage``."""
