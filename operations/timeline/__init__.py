"""What happened to a served chain and when, from the files that say it."""
