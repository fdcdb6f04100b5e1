"""One network a file: tensors in, tensors out."""
