"""Parts that commands share: flags from dataclasses, sheets, and one-line endings."""
