"""Channel awareness (paper sec. 3.2) in closed form and by Monte Carlo; both return the same columns."""

from cawa_core.awareness.closed_form import closed_form_awareness
from cawa_core.awareness.monte_carlo import awareness_of_samples, monte_carlo_awareness
from cawa_core.awareness.result import Awareness

__all__ = ["Awareness", "awareness_of_samples", "closed_form_awareness", "monte_carlo_awareness"]
