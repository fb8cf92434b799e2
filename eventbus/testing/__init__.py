"""What tests of applications and of backends use."""
