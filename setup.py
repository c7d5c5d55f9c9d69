"""What pyproject.toml cannot say: the tools and the bundles lie elsewhere in a checkout than in the wheel."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["doll_monai*"]), *find_packages("scripts"), "doll_tools.bundles"],
    package_dir={"doll_tools": "scripts/doll_tools", "doll_tools.bundles": "bundles"},
    package_data={
        "doll_monai": ["py.typed"],
        "doll_tools": ["*/*.css", "*/*.html", "*/*.j2", "*/*.js", "*/*.json", "*/*.txt", "*/presets/*.json"],
        "doll_tools.bundles": ["*/LICENSE", "*/configs/*", "*/configs/*/*.json", "*/docs/*"],
    },
)
