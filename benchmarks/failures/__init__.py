"""Whether a served chain goes on, says nothing wrong and loses nothing where something breaks."""
