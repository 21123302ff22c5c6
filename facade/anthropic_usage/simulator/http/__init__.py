"""The HTTP face of the stand-in."""
