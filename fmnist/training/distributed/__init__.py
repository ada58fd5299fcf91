"""One training on several devices, of one host or of several, by what each backend has for it."""
