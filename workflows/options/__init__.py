"""The options of an audit, of a run and of a lab, with their help texts."""
