"""What the networks for CIFAR's 32 x 32 images share."""

MEAN = (0.4914, 0.4822, 0.4465)
"""Of the 50,000 training images of CIFAR-10, RGB in 0..1."""

STD = (0.2470, 0.2435, 0.2616)
"""Of the same images, over all pixels."""

SIZE = 32
"""Pixels in each direction."""

STRIDES = (1, 2, 4)
"""Of the three groups of layers that both the ResNets and the DenseNets have."""
