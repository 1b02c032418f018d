"""What is about tf_flowers alone."""
