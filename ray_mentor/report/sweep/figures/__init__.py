"""The figures of a sweep's page, as the plain data that plotly.js draws."""
