"""Small honest models, each split into features and classifier; GroupNorm where there is a norm."""

from __future__ import annotations

from fedbal.registry import Entry, Table

MODELS = Table(
    "model",
    {
        "logistic": Entry(
            "fedbal.models.linear:Logistic",
            "fedbal.models.params:LogisticParams",
            "multinomial logistic regression on the flattened input",
        ),
        "mlp": Entry(
            "fedbal.models.linear:MLP",
            "fedbal.models.params:MLPParams",
            "fully connected layers with ReLU on the flattened input",
        ),
        "cnn": Entry(
            "fedbal.models.cnn:CNN",
            "fedbal.models.params:CNNParams",
            "two 5x5 convolutions and three linear layers; 44,426 parameters on 28x28 grey images",
            "LeCun et al., Proc. IEEE 1998; as in Ye et al., ICML 2023",
        ),
        "resnet18_gn": Entry(
            "fedbal.models.resnet:ResNet18GN",
            "fedbal.models.params:ResNet18GNParams",
            "ResNet-18 for small images: 3x3 stem, no max-pooling, GroupNorm with 2 groups",
            "He et al., CVPR 2016; Wu and He, ECCV 2018",
        ),
        "unet": Entry(
            "fedbal.models.unet:UNet",
            "fedbal.models.params:UNetParams",
            "small U-Net with two levels and GroupNorm, for masks; 29,786 parameters at width 8 on grey images",
            "Ronneberger et al., MICCAI 2015; Wu and He, ECCV 2018",
        ),
    },
)

__all__ = ["MODELS"]
