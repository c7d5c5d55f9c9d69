"""Four figures of the kinds that the paper has, drawn from runs of ours."""
