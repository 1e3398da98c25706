"""Correlations with their nulls, overlaps with their chance level, intervals."""
