"""Any Python value as bounded JSON, and the text that record lines are made of."""
