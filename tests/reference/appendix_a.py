"""The paper's Appendix A, rendered straightforwardly: one class, one site, sampled, float64."""

import torch

from cawa_core.generators.base import Generator


def sampled_awareness(generator: Generator, site: int, class_id: int, n_samples: int, seed: int):
    """Category awareness, latent awareness and the standard error of the former: ``[C]`` each."""
    random = torch.Generator().manual_seed(seed)
    embedding = generator.class_embedding(torch.tensor([class_id]))[0].double()
    modulation = generator.modulation(site)
    probes = []
    for _ in range(n_samples):
        z = torch.randn(generator.z_dim, generator=random, dtype=torch.float64)
        gain = modulation.gain.constant + modulation.gain.from_latent.double() @ z
        gain = gain + modulation.gain.from_class.double() @ embedding
        offset = modulation.offset.constant + modulation.offset.from_latent.double() @ z
        offset = offset + modulation.offset.from_class.double() @ embedding
        probes.append(-offset / gain)
    t = torch.stack(probes)
    return -t.mean(dim=0).numpy(), t.var(dim=0).numpy(), (t.var(dim=0) / n_samples).sqrt().numpy()
