"""The template of a network of one's own: a plain U-Net on patches of the sky."""
