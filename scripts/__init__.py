"""The commands, one thin file each; `cascade` is the console script over them."""
