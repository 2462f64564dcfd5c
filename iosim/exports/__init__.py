"""A result for other tools: files in the formats of Perfetto, fio, blktrace and others, made from its tables alone."""
