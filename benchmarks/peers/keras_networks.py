"""The networks in Keras 3, channels last, as its examples write them."""

from collections.abc import Callable
from functools import partial

import keras
from keras import layers


def make_network(name: str, size: int, start: str = "plain") -> keras.Model:
    """Return a network for 10 classes that gives class scores; ``start`` is a request's."""
    makers: dict[str, Callable[[int], keras.Model]] = {
        "lenet5": lenet5,
        "lenet_caffe": lenet_caffe,
        "mlp": mlp,
        "resnet18": partial(resnet18, start=start),
        "resnet20": resnet20,
    }
    return makers[name](size)


def lenet5(size: int) -> keras.Model:
    """LeNet-5 as it is usually built, 61,706 parameters."""
    return keras.Sequential(
        [
            keras.Input((size, size, 1)),
            layers.Conv2D(6, 5, activation="tanh"),
            layers.AveragePooling2D(2),
            layers.Conv2D(16, 5, activation="tanh"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(120, activation="tanh"),
            layers.Dense(84, activation="tanh"),
            layers.Dense(10),
        ]
    )


def lenet_caffe(size: int) -> keras.Model:
    """The LeNet of Caffe's first example, 431,080 parameters."""
    return keras.Sequential(
        [
            keras.Input((size, size, 1)),
            layers.Conv2D(20, 5),
            layers.MaxPooling2D(2),
            layers.Conv2D(50, 5),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(500, activation="relu"),
            layers.Dense(10),
        ]
    )


def mlp(size: int) -> keras.Model:
    """784-512-512-10, 669,706 parameters."""
    return keras.Sequential(
        [
            keras.Input((size, size, 1)),
            layers.Flatten(),
            layers.Dense(512, activation="relu"),
            layers.Dense(512, activation="relu"),
            layers.Dense(10),
        ]
    )


def convolution(
    x: object, channels: int, kernel: int, stride: int = 1, scale: str = "ones"
) -> object:
    """Apply a convolution padded as PyTorch's, and batch norm whose scale starts as said."""
    if kernel > 1:
        x = layers.ZeroPadding2D(kernel // 2)(x)
    x = layers.Conv2D(channels, kernel, stride, use_bias=False, kernel_initializer="he_normal")(x)
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, gamma_initializer=scale)(x)


def resnet18(size: int, start: str = "plain") -> keras.Model:
    """ResNet-18 (He et al. 2016, Table 1), with 10 classes 11,181,642 parameters."""
    images = keras.Input((size, size, 3))
    x = layers.Activation("relu")(convolution(images, 64, 7, 2))
    x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x))
    for stage, channels in enumerate((64, 128, 256, 512)):
        for block in range(2):
            stride = 2 if stage and not block else 1
            out = layers.Activation("relu")(convolution(x, channels, 3, stride))
            out = convolution(out, channels, 3, scale="zeros" if start == "zero" else "ones")
            if stride == 2:
                x = convolution(x, channels, 1, stride)
            x = layers.Activation("relu")(layers.Add()([out, x]))
    return keras.Model(images, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def resnet20(size: int) -> keras.Model:
    """ResNet-20 (He et al. 2016, Section 4.2), shortcuts padded with zeros."""
    images = keras.Input((size, size, 3))
    x = layers.Activation("relu")(convolution(images, 16, 3))
    for stage, channels in enumerate((16, 32, 64)):
        for block in range(3):
            stride = 2 if stage and not block else 1
            out = layers.Activation("relu")(convolution(x, channels, 3, stride))
            out = convolution(out, channels, 3)
            if stride == 2:
                x = layers.AveragePooling2D(1, 2)(x)  # every second pixel
                x = layers.Permute((1, 3, 2))(x)
                x = layers.ZeroPadding2D((0, channels // 4))(x)
                x = layers.Permute((1, 3, 2))(x)
            x = layers.Activation("relu")(layers.Add()([out, x]))
    return keras.Model(images, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))
