"""One module per file format; each turns an open file into `Row`s, in file order."""
