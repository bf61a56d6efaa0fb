"""Who asks how much, and how it goes: the counts of all processes of a server, added up."""
