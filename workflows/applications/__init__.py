"""The paper's applications as commands: edit."""
