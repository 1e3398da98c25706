"""Names that label maps of all kinds share."""

NOTHING = "nothing"
"""Name of what pixels without a concept show; no concept has it."""
