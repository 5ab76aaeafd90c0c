"""The panel: a widget in which identities are ticked for workflows, and the page that draws it."""
