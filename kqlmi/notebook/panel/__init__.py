"""The panel: a widget to tick the usages of identities, and the JavaScript that draws it."""
