"""What other people's libraries ask of a key service, answered by kmscore; each needs its extra."""
