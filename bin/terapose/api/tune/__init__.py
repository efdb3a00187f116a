"""`terapose tune` as a call: values are tried, and a sheet, numbers and parameters written."""
