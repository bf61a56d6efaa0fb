"""`cascade notify`: which of a batch of candidates are sent, by the send gate, a budget and hard rules."""
