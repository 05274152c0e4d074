"""Constants of the networks for CIFAR's 32 x 32 images."""

MEAN = (0.4914, 0.4822, 0.4465)
"""Mean of the 50,000 training images of CIFAR-10, RGB in 0..1."""

STD = (0.2470, 0.2435, 0.2616)
"""Standard deviation over all pixels of the same images."""

SIZE = 32
"""Height and width of an image in pixels."""

STRIDES = (1, 2, 4)
"""Strides of the three groups of layers, in the ResNets and in the DenseNets."""
