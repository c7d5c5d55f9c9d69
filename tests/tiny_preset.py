"""A preset of ``doll run`` for tests: the smallest networks, an epoch or two."""

PRESET = {
    "members": ["resnet10_narrow", "densenet_tiny"],
    "network": "pspnet",
    "backbone_member": 0,
    "gradcam_layers": ["layer4", "features.denseblock3"],
    "image_size": [48, 48],
    "num_workers": 0,
    "classifier": {"max_epochs": 1, "batch_size": 8, "cache_rate": 1.0},
    "labels": {"ig_steps": 4},
    "pretraining": {"max_epochs": 1, "batch_size": 8, "cache_rate": 1.0},
    "task_images": {"training": 5, "validation": 3},
    "fine_tuning": {"max_epochs": 2, "batch_size": 5},
    "adapter": {"learning_rate": 0.003},
    "scratch": {"learning_rate": 0.001},
}
