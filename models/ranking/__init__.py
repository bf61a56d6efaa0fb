"""The ranker: a DLRM of Merlin Models blocks whose score splits into user, item and pair parts."""
