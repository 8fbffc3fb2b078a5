"""What is reached from where: what nobody refers to, who refers to a chunk, who holds how much."""
