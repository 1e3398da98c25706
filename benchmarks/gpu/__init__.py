"""``python -m benchmarks gpu``: does a GPU give the CPU's numbers, and how well is it used?

Nothing is fetched: the large models have random weights at their published sizes. On ``--device cpu`` the same steps
run on small sizes, as a rehearsal. Steps are listed in :mod:`benchmarks.gpu.script`, in the order in which they
matter, since time on a GPU may end early.
"""
