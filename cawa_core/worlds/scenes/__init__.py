"""``scenes``: 30 classes of small colour scenes, five buildings in six places, with exact label maps."""
