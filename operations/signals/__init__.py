"""What requests and answers look like, window by window, and which of it is out of the ordinary."""
