"""The paper's applications as commands: mask, edit, hybridise, segment."""
