"""All stages in a row: each an ordinary command whose inputs and outputs are files."""
