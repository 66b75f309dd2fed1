"""What is too long for a test: run by hand, see CONTRIBUTING."""
