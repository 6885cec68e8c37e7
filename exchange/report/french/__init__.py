"""French texts, one file a report: `WORDS`, from the English text (or template) to the French one."""
