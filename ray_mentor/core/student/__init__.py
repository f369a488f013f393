"""The student: its optimizer, its precision, what is kept of it."""
