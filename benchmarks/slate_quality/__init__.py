"""What the rules of slates do to slates: likeness, calibration, exposure, and what they cost by the truth."""
