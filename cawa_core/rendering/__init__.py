"""Everything that a person reads or looks at: claims, figures, sheets of images and the report."""
