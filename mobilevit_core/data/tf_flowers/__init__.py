"""What is about tf_flowers alone: the lists that `data.curation` reads, and example photos."""
