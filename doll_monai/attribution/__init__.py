"""Integrated Gradients of many targets at once; plain torch, knows nothing of MONAI."""
