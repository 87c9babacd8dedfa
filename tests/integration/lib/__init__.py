"""What the integration tests share: a daemon to drive, images to run, and an account of leaks."""
