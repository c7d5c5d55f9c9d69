"""Images and overlays as pictures."""
