"""Interventions one site, one channel and one image after another; every donor from its own latents."""

import torch

from cawa_core.generators.base import class_ids_of
from cawa_core.interventions import START, Conditioning, Constant, OtherClass, Scale


def walked_images(generator, z, class_ids, changes):
    """Images under interventions on features, and on class embeddings by the index of the class."""
    if any(change.site == START for change in changes):
        (first,) = (change for change in changes if change.site == START)
        class_ids = class_ids_of(first.embedding, z)
    state = generator.run_to(0, z, class_ids)
    for site in generator.sites:
        if site.index:
            state = generator.next_site(state)
        for change in changes:
            if change.site != site.index:
                continue
            if isinstance(change, Conditioning):
                embedding = generator.class_embedding(class_ids_of(change.embedding, z))
                state = generator.reconditioned(state, z, embedding)
            else:
                state = state.with_features(changed_features(generator, z, state.features, change))
    return generator.finish(state)


def changed_features(generator, z, features, change):
    """Features ``[n, C, H, W]`` after one intervention."""
    features = features.clone()
    for place, channel in enumerate(change.channels):
        for image in range(len(features)):
            before = features[image, channel].clone()
            target = target_of(generator, z, before, change, image, place)
            weight = weight_of(change, before, image, place)
            features[image, channel] = target if weight is None else before + weight * (target - before)
    return features


def target_of(generator, z, before, change, image, place):
    """What one channel of one image is to become ``[H, W]``."""
    target = change.target
    if isinstance(target, OtherClass):
        features = generator.run_to(change.site, z, class_ids_of(target.class_id, z)).features
        return features[image, change.channels[place]]
    (value,) = vars(target).values()
    value = value[place] if isinstance(value, torch.Tensor) else value
    if isinstance(target, Constant):
        return torch.full_like(before, value)
    return before * value if isinstance(target, Scale) else before + value


def weight_of(change, before, image, place):
    """Weight of one channel of one image: None, a number, or that times block means of the region ``[H, W]``."""
    weight = None if change.weight is None else change.weight[place]
    if change.region is None:
        return weight
    region = change.region[image] if change.region.ndim == 3 else change.region
    height, width = before.shape
    means = region.reshape(height, len(region) // height, width, -1).mean(dim=(1, 3))
    return means if weight is None else means * weight
