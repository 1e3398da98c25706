"""Semantics that a linear map reads off a generator's features (Xu and Zheng 2021, *Linear Semantics in GANs*)."""
