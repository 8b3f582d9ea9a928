"""Parameters of the generated images with masks; needs pydantic only."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from fedbal.params import Params

Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Site = Annotated[int, Field(ge=0)]


class BlobsKeys(Params):
    """What the blobs are made with."""

    sites: Annotated[int, Field(ge=1, le=1000)] = Field(6, description="Number of sites, 1 to 1000.")
    images: Count = Field(60, description="Images of a site, >= 1.")
    test_images: Count = Field(
        120,
        description="Images of the global test set, >= 1, dealt to the sites in turn; their masks are true.",
    )
    size: Annotated[int, Field(ge=16, le=512)] = Field(
        32, description="Height and width of an image in pixels, 16 to 512."
    )
    contrast: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.35,
        description="How much brighter a blob is than what is around it, in (0, 1]; black to white is 1.",
    )
    noise: Fraction = Field(0.08, description="Standard deviation of white noise on every pixel, in [0, 1].")
    intensity_shift: Fraction = Field(
        0.15, description="A site's brightness is uniform in plus or minus this, in [0, 1]; 0: all alike."
    )
    contrast_shift: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.4,
        description="A site's contrast is multiplied by 1 plus or minus up to this, in [0, 1); 0: all alike.",
    )
    texture_shift: Fraction = Field(
        0.12, description="Largest amplitude of a site's own stripes, in [0, 1]; 0: no stripes."
    )
    noisy_sites: list[Site] = Field(
        [], description="Sites, counted from 0, that draw wrong masks for training and validation."
    )
    mask_noise: Literal["mixed", "erode", "dilate", "shift", "missing"] = Field(
        "mixed",
        description="What is wrong with a mask: too small, too large, moved, empty, or one of these at random.",
    )
    mask_noise_rate: Fraction = Field(
        0.8, description="Share of the masks of a noisy site that are wrong, in [0, 1]."
    )
    mask_noise_pixels: Annotated[int, Field(ge=1, le=64)] = Field(
        3, description="By how many pixels a mask is eroded, dilated or moved, 1 to 64."
    )
    small_sites: list[Site] = Field([], description="Sites, counted from 0, that have few images.")
    small_share: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.25, description="Share of the images that a small site has, in (0, 1]; at least one image."
    )

    @field_validator("noisy_sites", "small_sites")
    @classmethod
    def _exist(cls, value: list[int], info: ValidationInfo) -> list[int]:
        sites = info.data.get("sites")
        if sites is not None and any(site >= sites for site in value):
            raise ValueError(f"must be sites from 0 to {sites - 1} (data.sites = {sites})")
        if len(set(value)) < len(value):
            raise ValueError("must name each site once")
        return value
