"""A MONAI Label app that serves the bundles to annotators; see ``docs/annotate.md``.

``doll annotate STUDIES`` starts it. It lives in an environment of its own (``requirements.txt``),
since MONAI Label needs older versions of some packages; what imports no ``monailabel`` is tested with everything else.
"""
