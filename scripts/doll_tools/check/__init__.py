"""Are a bundle's configuration and the values given for it right? Said in a sentence, before anything runs."""
