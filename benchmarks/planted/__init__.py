"""``python -m benchmarks planted FOLDER``: a small generator of many classes, some of which have planted faults.

An audit of it must lead to the planted classes. The generator is a narrow original BigGAN at 32 pixels with random
weights; the real images are those of the healthy generator, from latents of their own and with a little noise. The
command writes everything that an audit needs, the options of one (``audit.toml``), those of a later checkpoint with
further faults (``later.toml``), and the list of the faults (``faults.json``):

- ``broken``: three classes whose embeddings lie far from all others;
- ``swapped``: two classes with each other's embedding;
- ``collapsed``: a class whose latents are moved close to one point before the first layer;
- ``noisy``: a class whose images get noise, which is a function of the latents;
- ``damaged_later``: five classes of the later checkpoint, whose embeddings are mostly random.
"""
