"""A checkpoint of a small PSPNet for every test of this folder."""

from small_pspnet import pretrained as pretrained
